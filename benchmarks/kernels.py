"""Speed of one layer against the zeros in its weights, in every precision, beside ONNX Runtime's dense layer.

    python benchmarks/kernels.py [--shapes 1x1-512-14 3x3-128-28] [--zeros 0 0.5 0.9] [--threads 1 2] [--runs 50]
                                 [--plot docs/kernels.png] [--write benchmarks/KERNELS.md]

A shape is kernel-channels-size: 1x1-512-14 is a convolution of 512 channels to 512 over 14x14 pixels. A network of four such
layers, each with Relu, is timed, so that what turns the input into integers and back counts as little as in a real network.
Weights are Laplace, pruned by magnitude, K = 7. The unit is 1e9 multiply-adds per second, those with zero weights included:
a dense layer is a line then, and where a curve crosses it the zeros begin to pay.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import opq
from benchmarks import onnxruntime_int8
from benchmarks.machine import command, today_here, versions
from benchmarks.network_cases import PRECISIONS, Float32
from opq.benchmark import measure, opq_engine, peer
from opq.cli.tables import format_table, progress
from opq.plotting.figures import new_figure, save_figure
from opq.plotting.style import BLUE, GREEN, GREY, INK, VERMILLION, plain
from opq.threads import available_cores

SHAPES = ("1x1-256-28", "1x1-512-14", "1x1-1024-7", "3x3-64-56", "3x3-128-28", "3x3-256-14")
ZEROS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
DENSE = ("ONNX Runtime float32", "ONNX Runtime int8")

_LAYERS = 4
_WARMUP = 3

Speeds = Mapping[str, Sequence[float]]  # by engine: one number per share of zeros, or one alone for a dense engine


def main() -> None:
    """Measure and print, and write the files that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--zeros", nargs="+", type=float, default=ZEROS)
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, min(2, available_cores())}))
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--plot", metavar="FILE", help="picture of the first number of threads")
    parser.add_argument("--write", type=Path, metavar="FILE")
    args = parser.parse_args()
    results: dict[tuple[int, str], Speeds] = {}
    for threads in args.threads:
        for shape in args.shapes:
            progress(f"{shape} on {threads} threads")
            results[threads, shape] = measure_shape(shape, args.zeros, threads, args.runs)
            header, rows = table(results[threads, shape], args.zeros)
            print(f"\n{shape}, {threads} threads\n{format_table(header, rows)}", flush=True)
    if args.plot is not None:
        draw(
            {shape: speeds for (threads, shape), speeds in results.items() if threads == args.threads[0]}, args.zeros, args.plot
        )
    if args.write is not None:
        args.write.write_text("\n".join(markdown(results, args.zeros, args.runs)) + "\n")


def measure_shape(shape: str, zeros: Sequence[float], threads: int, runs: int) -> Speeds:
    """All engines on one shape, in turns."""
    kernel, channels, size = int(shape.split("x")[0]), *map(int, shape.split("-")[1:])
    noise = np.random.default_rng(1).standard_normal((4, channels, size, size), dtype=np.float32)
    x = noise[:1]
    with tempfile.TemporaryDirectory() as folder:
        dense, int8 = (str(Path(folder) / name) for name in ("dense.onnx", "int8.onnx"))
        onnx.save(network(kernel, noise, 0.0), dense)
        Path(int8).write_bytes(onnxruntime_int8.quantized(Path(dense), "x", noise))
        engines = [replace(peer("onnxruntime")(path, {"x": x}, threads), name=name) for path, name in zip((dense, int8), DENSE)]
        for share in zeros:
            model = opq.compress(opq.load_onnx(network(kernel, noise, share)), bits=4, calibration={"x": noise})
            engines += [opq_engine(model, {"x": x}, threads, precision) for precision in PRECISIONS]
        timings = measure(engines, _WARMUP, runs)
    products = _LAYERS * (kernel * channels * size) ** 2
    speeds: dict[str, list[float]] = {}
    for timing in timings:
        speeds.setdefault(timing.engine, []).append(products / timing.median / 1e6)
    return speeds


def network(kernel: int, x: Float32, zeros: float) -> onnx.ModelProto:
    """Equal convolutions that keep the mean square of what goes through, each with a Relu."""
    rng = np.random.default_rng(0)
    channels = x.shape[1]
    nodes, weights = [], []
    for i in range(_LAYERS):
        w = rng.laplace(size=(channels, channels, kernel, kernel)).astype(np.float32)
        w[np.abs(w) < np.quantile(np.abs(w), zeros)] = 0.0
        w *= np.sqrt(2.0 * channels / np.sum(w * w))
        weights.append(numpy_helper.from_array(w, f"w{i}"))
        value, pads = "x" if i == 0 else f"r{i - 1}", [kernel // 2] * 4
        nodes.append(helper.make_node("Conv", [value, f"w{i}"], [f"c{i}"], f"conv{i}", pads=pads, kernel_shape=[kernel] * 2))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"))
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ("N", *x.shape[1:])) for n in ("x", f"r{_LAYERS - 1}")]
    graph = helper.make_graph(nodes, "layers", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def table(speeds: Speeds, zeros: Sequence[float]) -> tuple[list[str], list[list[str]]]:
    """An engine per row, a share of zeros per column; a dense engine has the same speed in all."""
    header = ["GMAC/s, zeros counted", *(f"{100 * share:g} %" for share in zeros)]
    repeated = {engine: [*row] * (len(zeros) if engine in DENSE else 1) for engine, row in speeds.items()}
    return header, [[engine, *(f"{speed:.1f}" for speed in row)] for engine, row in repeated.items()]


def markdown(results: Mapping[tuple[int, str], Speeds], zeros: Sequence[float], runs: int) -> Iterator[str]:
    """All tables under what is needed to judge them."""
    assert __doc__ is not None
    yield "# Layers against their zeros"
    yield ""
    yield f"Written by `{command('benchmarks/kernels.py', sys.argv[1:])}`"
    yield f"on {today_here()};"
    yield f"opq {opq.__version__}, {versions(('numpy', 'onnxruntime'))}. Medians of {runs} runs of each engine, in turns."
    yield ""
    yield __doc__.split("\n\n")[2].strip()
    for (threads, shape), speeds in results.items():
        header, rows = table(speeds, zeros)
        yield f"\n## {shape}, {threads} thread{'' if threads == 1 else 's'}\n"
        yield f"| {' | '.join(header)} |"
        yield "|---" + "|---:" * len(zeros) + "|"
        yield from (f"| {' | '.join(row)} |" for row in rows)


def draw(results: Mapping[str, Speeds], zeros: Sequence[float], path: str) -> None:
    """A panel per shape."""
    columns = min(3, len(results))
    rows = -(-len(results) // columns)
    percent = [100.0 * share for share in zeros]
    figure = new_figure(3.4 * columns, 2.8 * rows + 0.4)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    colours = dict(zip((*(f"opq {p}" for p in PRECISIONS), *DENSE), (BLUE, GREEN, VERMILLION, GREY, INK)))
    for axes, (shape, speeds) in zip(panels, results.items()):
        for engine, row in speeds.items():
            if engine in DENSE:
                axes.axhline(row[0], color=colours[engine], linestyle="--", linewidth=1.0, label=engine)
            else:
                axes.plot(percent, row, color=colours[engine], marker="o", markersize=3.0, label=engine)
        axes.set_yscale("log")
        axes.set_title(shape, fontsize=9)
        plain(axes)
    for axes in panels[len(results) :]:
        axes.set_visible(False)
    figure.supxlabel("zeros, %", fontsize=9)
    figure.supylabel("GMAC/s, zeros counted", fontsize=9)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5, fontsize=8)
    save_figure(figure, path)


if __name__ == "__main__":
    main()
