"""Latency, memory and rounding of whole networks in every precision, beside the other engines of a CPU.

    python benchmarks/networks.py [--only zeros-90 batch-16] [--networks resnet-50] [--threads 1 2] [--runs 50]
                                  [--images DIR] [--deepsparse PYTHON] [--write benchmarks/RESULTS.md] [--json FILE]

Groups (--only), all five by default, of ResNet-50, open-nsfw, MobileNet-V1 and AlexNet:

    zeros-90  magnitude-pruned to 90 % zeros, every layer but the first and the depthwise ones, 4 bits (K = 7)
    zeros-80  to 80 %
    mixed-4   not pruned before: 30 % zeros, 2 to 8 bits by layer, 4 on average
    ratio-8   not pruned before: 8 times smaller than dense
    batch-16  90 %, sixteen images per run

Engines that are not installed are left out, with the reason: pip install onnxruntime openvino MNN. DeepSparse wants an
interpreter of its own (deepsparse_engine.py). --images: photographs for trained networks, a folder or zip archive (images.py),
else the samples of scikit-image. Everything takes an hour or two; files are written after every network. without_avx512.py runs
this as on a processor that has AVX2 and no more.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.network_accuracy import Difference, differences
from benchmarks.network_cases import GROUPS, NAMES, Case, Files, Prepared, files_in, prepare
from benchmarks.network_engines import LABELS, OTHER_PROCESS, Setting, engine
from benchmarks.network_tables import Result, difference_lines, latency_lines, markdown
from benchmarks.quiet import Best, Quiet, best_look, usable_cores
from opq._core import round_trip_seconds
from opq.benchmark import Timing, measure
from opq.cli.tables import progress
from opq.threads import available_cores

P = ParamSpec("P")
T = TypeVar("T")

_WARMUP = 5
_LOOK = 10.0  # seconds, for the best speed of the cores
_IMAGES = 200  # photographs of --images


def main() -> None:
    """Measure and print, and write the files that are named."""
    args = parsed()
    images = "the sample photographs of scikit-image" if args.images is None else f"photographs of {args.images.name}"
    results: list[Result] = []
    best = in_a_child(best_look, usable_cores(), _LOOK)
    for group in args.only:
        for network in args.networks:
            result = measure_case(group, Case(network, *GROUPS[group]), args, best)
            results.append(result)
            known = ["", *difference_lines([result])] if result.differences else []
            print("\n".join(["", group, *latency_lines(result), *known]), flush=True)
            if args.write is not None:
                args.write.write_text(markdown(results, args.runs, images, sys.argv[1:]))
            if args.json is not None:
                args.json.write_text(json.dumps([plain(result) for result in results], indent=2))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(GROUPS), choices=GROUPS)
    parser.add_argument("--networks", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, min(2, available_cores())}))
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--patience", type=float, default=60.0, help="seconds in which quiet moments are looked for")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--deepsparse", metavar="PYTHON")
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def measure_case(group: str, case: Case, args: argparse.Namespace, best: Best) -> Result:
    """One network of one group. Every step is a process of its own, so that no memory it leaves free hides another's need."""
    with tempfile.TemporaryDirectory() as folder:
        files = files_in(Path(folder))
        progress(f"{group}, {case.network}: building and compressing")
        prepared, found = in_a_child(_prepare, case, files, args.images)
        peaks: dict[str, int | None] = {}
        missing: dict[str, str] = {}
        for label in LABELS:
            try:
                peaks[label] = in_a_child(_peak, label, files, Setting(args.threads[0], args.deepsparse))
            except (ImportError, ValueError, RuntimeError) as error:
                missing[label] = " ".join(str(error).split())
                progress(f"left out {label}: {missing[label]}")
        timings: dict[int, dict[str, Timing]] = {}
        trips: dict[int, list[float | None]] = {}
        for threads in args.threads:
            progress(f"{group}, {case.network}: timing on {threads} threads")
            runs = max(3, args.runs // case.batch)
            setting = Setting(threads, args.deepsparse)
            timings[threads], trips[threads] = in_a_child(_timed, list(peaks), files, setting, runs, best, args.patience)
    return Result(group, case, prepared, timings, trips, peaks, found, missing)


def in_a_child(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of a function in a fresh process."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def _prepare(case: Case, files: Files, images: Path | None) -> tuple[Prepared, list[Difference]]:
    prepared = prepare(case, files, images, _IMAGES)
    return prepared, differences(case, files, prepared.judged, prepared.classes) if case.batch == 1 else []


def _peak(label: str, files: Files, setting: Setting) -> int | None:
    """Bytes that an engine takes; None where that is another process's matter. Raises whatever keeps it from running."""
    [timing] = measure([engine(label, files, setting)], 0, 1)
    return None if label == OTHER_PROCESS else timing.peak_memory


def _timed(
    labels: list[str], files: Files, setting: Setting, runs: int, best: Best, patience: float
) -> tuple[dict[str, Timing], list[float | None]]:
    """Timings by engine; how far two cores are apart before and after, in nanoseconds. On as many cores as threads."""
    cores = usable_cores()[: setting.threads]
    if cores:
        os.sched_setaffinity(0, cores)
    quiet = Quiet(cores, best)
    engines = [engine(label, files, setting) for label in labels]
    before = round_trip_seconds()
    timings = {timing.engine: timing for timing in measure(engines, _WARMUP, runs, quiet, patience)}
    return timings, [None if trip is None else 1e9 * trip for trip in (before, round_trip_seconds())]


def plain(result: Result) -> dict[str, object]:
    """For JSON."""
    return {
        "group": result.group,
        **asdict(result.case),
        "sparsity": result.prepared.sparsity,
        "dense_bytes": result.prepared.dense_bytes,
        "file_bytes": result.prepared.file_bytes,
        "packed_bytes": result.prepared.packed_bytes,
        "timings": {threads: [asdict(t) for t in by_engine.values()] for threads, by_engine in result.timings.items()},
        "round_trips_ns": result.round_trips,
        "peak_memory": result.peaks,
        "differences": [asdict(d) for d in result.differences],
        "left_out": result.missing,
    }


if __name__ == "__main__":
    main()
