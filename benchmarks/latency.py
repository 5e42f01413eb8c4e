"""Latency beside ONNX Runtime's dense float32, in one run: open-nsfw and the networks of the paper at 90 % zeros.

Every layer but the first and the depthwise ones is magnitude-pruned to 90 % zeros, then quantized to 4 bits. ONNX Runtime
runs the same network dense and unpruned. open-nsfw is a trained network; the others have synthetic weights, good for sizes
and speeds only.

    python benchmarks/latency.py [--networks open-nsfw mobilenet-v1] [--threads 1 2] [--runs 50] [--write FILE]
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import opq
from benchmarks.networks_of_the_paper import NETWORKS, build
from benchmarks.real_networks import open_nsfw
from opq.benchmark import Engine, Run, Timing, measure, peer
from opq.cli.tables import format_table, progress
from opq.threads import available_cores


@dataclass(frozen=True)
class Row:
    """One network on one number of threads."""

    network: str
    threads: int
    sparsity: float
    dense_bytes: int
    file_bytes: int
    packed_bytes: int
    own: Timing
    other: Timing


def main() -> None:
    """Measure and print, and write the Markdown file where one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["open-nsfw", *NETWORKS], choices=["open-nsfw", *NETWORKS])
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, min(2, available_cores())}))
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--write", metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    for name in args.networks:
        rows += measure_network(name, args.threads, args.runs, args.sparsity)
    if args.json:
        print(json.dumps([{**vars(r), "own": vars(r.own), "other": vars(r.other)} for r in rows], indent=2))
    else:
        print(format_table(HEADER, [cells(row) for row in rows]))
    if args.write:
        Path(args.write).write_text(markdown(rows, args.runs, args.sparsity))


def measure_network(name: str, threads: list[int], runs: int, sparsity: float) -> list[Row]:
    """The rows of one network."""
    progress(f"{name}: building and compressing")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "dense.onnx")
        if name == "open-nsfw":
            model = onnx.load(open_nsfw())
            onnx.save(model, path)
            prune(model, sparsity)
        else:
            onnx.save(build(name), path)
            model = build(name, sparsity=sparsity)
        result = opq.compress(opq.load_onnx(model), bits=4)
        totals = result.report["totals"]
        session = opq.Session(result, threads=1)
        argument = session.get_inputs()[0]
        shape = [d if isinstance(d, int) else 1 for d in argument.shape]
        inputs = {argument.name: np.random.default_rng(0).normal(size=shape).astype(np.float32)}
        rows = []
        for count in threads:
            progress(f"{name}: timing on {count} threads")

            def load(count: int = count) -> Run:
                own = opq.Session(result, threads=count)
                return lambda: own.run(None, inputs)

            own, other = measure([Engine("opq", load), peer("onnxruntime")(path, inputs, count)], 5, runs)
            rows.append(
                Row(
                    name,
                    count,
                    totals["sparsity"],
                    totals["dense_bytes"],
                    totals["file_bytes"],
                    totals["packed_bytes"],
                    own,
                    other,
                )
            )
    return rows


def prune(model: onnx.ModelProto, sparsity: float) -> None:
    """Magnitude-prunes every Conv of `model` but the first one."""
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    names = {node.input[1] for node in convs[1:]}
    for initializer in model.graph.initializer:
        if initializer.name in names:
            w = numpy_helper.to_array(initializer).copy()
            w[np.abs(w) < np.quantile(np.abs(w), sparsity)] = 0
            initializer.CopyFrom(numpy_helper.from_array(w, initializer.name))


HEADER = [
    "network",
    "threads",
    "opq ms",
    "p90",
    "ONNX Runtime dense ms",
    "p90",
    "speed-up",
    "dense MB",
    "file MB",
    "in memory MB",
]


def cells(row: Row) -> list[str]:
    """One row as text."""
    times = [row.own.median, row.own.p90, row.other.median, row.other.p90]
    sizes = [row.dense_bytes, row.file_bytes, row.packed_bytes]
    speedup = f"{row.other.median / row.own.median:.2f}x"
    return [row.network, str(row.threads), *(f"{t:.2f}" for t in times), speedup, *(f"{size / 1e6:.2f}" for size in sizes)]


def markdown(rows: list[Row], runs: int, sparsity: float) -> str:
    """The table with all that is needed to judge it."""
    return f"""# Latency beside ONNX Runtime

Written by `make bench` on {datetime.date.today().isoformat()}: {cpu_name()}, {available_cores()} cores, instruction set
{best_isa()}; opq {opq.__version__}, {rows[0].other.engine}, Python {platform.python_version()}. Batch 1,
medians of {runs} runs of each engine, in turns in one process.

Every layer but the first and the depthwise ones (in open-nsfw also the last, of 2048 weights) is magnitude-pruned to
{100 * sparsity:.0f} % zeros and quantized to 4 bits; ONNX Runtime runs the same network dense, unpruned, in float32.
open-nsfw is a trained network; the others have synthetic weights: good for sizes and speeds, meaningless for accuracy.

| {" | ".join(HEADER)} |
{"|---" * len(HEADER)}|
""" + "".join(f"| {' | '.join(cells(row))} |\n" for row in rows)


def best_isa() -> str:
    from opq import _core

    return _core.supported_isas()[0]


def cpu_name() -> str:
    """The processor's model name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
