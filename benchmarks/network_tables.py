"""The results of networks.py as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import opq
from benchmarks.machine import command, today_here, versions, without_avx512
from benchmarks.network_accuracy import Difference
from benchmarks.network_cases import Case, Prepared
from benchmarks.network_engines import DENSE, INT8
from opq.benchmark import Timing

_TITLES = {"resnet-50": "ResNet-50", "mobilenet-v1": "MobileNet-V1", "alexnet": "AlexNet", "open-nsfw": "open-nsfw"}
_PACKAGES = ("numpy", "onnxruntime", "openvino", "MNN")

_WITHOUT_AVX512 = """\
* The engines were told that this processor has no AVX-512 and no VNNI (without_avx512.py). Its clock, caches and units are what
  they are: a processor that truly lacks them may be slower or faster at the rest.
* Without VNNI, ONNX Runtime adds two products of bytes in 16 bits, which saturate with weights of 8 bits: its differences are
  of that, too. Its documentation advises weights of 7 bits there."""

_NOTES = """\
Medians and, in brackets, the 90th percentiles, milliseconds per run. The engines of a table and a number of threads were loaded
in one process, on as many cores, and ran in turns; DeepSparse 1.8, which wants older packages, is a process beside it that
takes its turns. Compare inside a table only.

* A run counts if every core was as fast shortly before and after it as it is alone, and two as near each other as ever
  (quiet.py): in a virtual machine the other thread of a core may be somebody else's. Where such moments were rare (--patience),
  the line of the network says how few runs an engine had, or how many of its runs were disturbed.
* Dense float32 and ONNX Runtime's static int8 run the network before pruning; what is sparse runs the pruned one.
  DeepSparse leaves AlexNet up to the second LRN, which it does not know, to ONNX Runtime: 8 operators of 21.
* How far two cores are apart, a cache line there and back, is the host's matter in a virtual machine, and may change from one
  minute to the next. Some 85 ns: they share a cache. Some 350 ns: they do not, and two threads gain little by sharing a layer.
* Zeros are those of all weights of convolutions and matrices. "90 % zeros": magnitude pruning of every layer but the first and
  the depthwise ones, then codes of 4 bits. "4 bits on average" and "8 times smaller":
  `opq.compress(model, sparsity=0.3, mean_bits=4)` and `opq.compress(model, ratio=8)` of a network that nobody pruned.
* open-nsfw, and MobileNet-V1 where nobody pruned it, are trained networks and see {images}. The others have
  synthetic weights and see noise: good for sizes and speeds; their differences say how integers round, nothing of accuracy.
* Such pruning needs fine-tuning, which these networks did not have: open-nsfw then gives every photograph the same answer,
  and only its differences where it was not pruned mean anything.
* "speed over dense": the time of the fastest dense float32 engine over this one's, by threads; "over int8": that of ONNX
  Runtime's int8. "peak": the memory that loading and the first run add to a process of the engine's own, on {first}.
  "weights": as held in memory to run.
* Differences are of outputs from the same network in float32 on the same engine: error is sqrt(sum (y - z)^2 / sum z^2), KL in
  nats, the largest difference of a probability, how often the most probable class is the same, and how often it is the
  right one, in integers and in float32, where photographs have labels: before against after, no claim of accuracy."""


@dataclass(frozen=True, eq=False)
class Result:
    """A case: timings by threads and engine, peak memory in bytes, differences from float32, why other engines are left out.

    round_trips  by threads: nanoseconds in which a cache line went from core to core and back, before the timings and after
    """

    group: str
    case: Case
    prepared: Prepared
    timings: dict[int, dict[str, Timing]]
    round_trips: dict[int, list[float | None]]
    peaks: dict[str, int | None]
    differences: list[Difference]
    missing: dict[str, str]


def markdown(results: Sequence[Result], runs: int, images: str, arguments: Sequence[str]) -> str:
    """The whole file."""
    threads = next(iter(results[0].timings))
    lines = [
        "# Latency of whole networks",
        "",
        f"Written by `{command('benchmarks/networks.py', arguments)}`",
        f"on {today_here()};",
        f"opq {opq.__version__}, {versions(_PACKAGES)}. {runs} runs of each engine, fewer of larger batches.",
        "",
        *_NOTES.format(images=images, first=_threads(threads)).splitlines(),
    ]
    if without_avx512():
        lines += _WITHOUT_AVX512.splitlines()
    missing: dict[tuple[str, str], dict[str, None]] = {}
    for result in results:
        for reason in result.missing.items():
            missing.setdefault(reason, {})[_TITLES[result.case.network]] = None
    lines += [f"* Left out for {', '.join(names)}: {label} ({why})." for (label, why), names in missing.items()]
    for group in dict.fromkeys(result.group for result in results):
        chosen = [result for result in results if result.group == group]
        lines += ["", f"## {_group_title(chosen[0].case)}"]
        for result in chosen:
            lines += ["", *latency_lines(result)]
        if any(result.differences for result in chosen):
            lines += ["", "Differences from float32:", "", *difference_lines(chosen)]
    return "\n".join(lines) + "\n"


def latency_lines(result: Result) -> Iterator[str]:
    """The table of a case under a line with its sizes."""
    known, timings = result.prepared, result.timings
    counts = list(timings)
    yield (
        f"**{_TITLES[result.case.network]}**: {100 * known.sparsity:.1f} % zeros, dense {known.dense_bytes / 1e6:.1f} MB, "
        f"`.opq` {known.file_bytes / 1e6:.2f} MB" + _apart(result, counts[-1]) + _disturbed(timings)
    )
    yield ""
    scaling = [f"{counts[-1]} threads over {counts[0]}"] if len(counts) > 1 else []
    header = ["engine", *map(_threads, counts), *scaling, "speed over dense", "over int8", "peak MB", "weights MB"]
    yield f"| {' | '.join(header)} |"
    yield "|---" + "|---:" * (len(header) - 1) + "|"
    for label in timings[counts[0]]:
        row = [timings[count][label] for count in counts]
        dense = [min((timings[c][d].median for d in DENSE if d in timings[c]), default=None) for c in counts]
        int8 = [timings[c][INT8].median if INT8 in timings[c] else None for c in counts]
        packed = known.packed_bytes.get(label.removeprefix("opq "))
        cells = [label, *(f"{t.median:.2f} ({t.p90:.2f})" for t in row)]
        cells += [f"{row[0].median / row[-1].median:.2f}"] if scaling else []
        cells += [_ratios(dense, row), _ratios(int8, row)]
        cells += ["-" if size is None else f"{size / 1e6:.1f}" for size in (result.peaks[label], packed)]
        yield f"| {' | '.join(cells)} |"


def difference_lines(results: Sequence[Result]) -> Iterator[str]:
    """One table for all networks of a group."""
    yield "| network | engine | error | KL | probability | same class | right class |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for result in results:
        for d in result.differences:
            cells = [_TITLES[result.case.network], d.engine, f"{d.error:.4f}", f"{d.divergence:.2g}", f"{d.largest:.4f}"]
            right = "-" if d.top_1 is None else " / ".join(f"{100 * share:.1f} %" for share in d.top_1)
            yield f"| {' | '.join([*cells, f'{round(d.agreement * d.inputs)} of {d.inputs}', right])} |"


def _apart(result: Result, threads: int) -> str:
    trips = result.round_trips[threads]
    if threads == 1 or None in trips:
        return ""
    return f"; cores {' and '.join(f'{trip:.0f}' for trip in trips)} ns apart before and after the runs on {threads} threads"


def _disturbed(timings: dict[int, dict[str, Timing]]) -> str:
    text = ""
    for threads, by_engine in timings.items():
        runs = [timing.runs for timing in by_engine.values()]
        if min(runs) < max(runs):
            text += f"; {min(runs)} to {max(runs)} runs on {_threads(threads)}"
        disturbed = [timing.disturbed for timing in by_engine.values()]
        if max(disturbed) > 0:
            text += f"; {min(disturbed)} to {max(disturbed)} of {max(runs)} runs on {_threads(threads)} disturbed"
    return text


def _ratios(others: Sequence[float | None], row: Sequence[Timing]) -> str:
    return " / ".join("-" if other is None else f"{other / t.median:.2f}x" for other, t in zip(others, row, strict=True))


def _threads(count: int) -> str:
    return f"{count} thread" if count == 1 else f"{count} threads"


def _group_title(case: Case) -> str:
    if case.zeros is not None:
        what = f"{100 * case.zeros:.0f} % zeros"
    else:
        what = ("30 % zeros, 4 bits on average" if "mean_bits" in case.budget else "8 times smaller") + ", not pruned before"
    return f"{what}, batch {case.batch}"
