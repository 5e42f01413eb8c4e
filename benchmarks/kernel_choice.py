"""Every kernel that can multiply a layer, measured beside the model that chooses among them (cpp/runtime/kernel_choice.cpp).

    python benchmarks/kernel_choice.py [--shapes 1x1-256-28 fc-4096] [--zeros 0 0.5 0.9] [--largest 7 127] [--runs 30]
                                       [--write benchmarks/KERNEL_CHOICE.md]

A shape is kernel-channels-size, 1x1-256-28 a convolution of 256 channels to 256 over 28x28 pixels; or fc-width, a square
matrix, whose input has half zeros, as behind a Relu. The layer is the second of two, each with a Relu: what it reads is held
as in a network. One thread. Weights are random codes up to the largest, as many of them zero as is said.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import opq
from benchmarks.machine import command, today_here
from benchmarks.network_cases import PRECISIONS, Float32
from opq.benchmark import LayerTiming, layer_timings
from opq.cli.tables import format_table, progress
from opq.graph import Graph, Node, ValueInfo
from opq.precision import Precision
from opq.quantization import QuantizedTensor
from opq.reference.ranges_section import Range

SHAPES = ("1x1-64-56", "1x1-256-28", "1x1-512-14", "1x1-1024-7", "3x3-64-56", "3x3-256-14", "fc-1024", "fc-2048", "fc-4096")
ZEROS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
LARGEST = (7, 127)

_WARMUP = 3


@dataclass(frozen=True)
class Measured:
    """One layer: milliseconds by kernel, as the model says and as measured."""

    shape: str
    precision: Precision
    largest: int
    zeros: float
    chosen: str
    estimated: dict[str, float]
    measured: dict[str, float]

    @property
    def lost(self) -> float:
        """Share of the fastest kernel's time that the choice takes longer."""
        return self.measured[self.chosen] / min(self.measured.values()) - 1.0


def main() -> None:
    """Measure, print, and write the page that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--zeros", nargs="+", type=float, default=ZEROS)
    parser.add_argument("--largest", nargs="+", type=int, default=LARGEST)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--write", type=Path, metavar="FILE")
    args = parser.parse_args()
    results = []
    for shape in args.shapes:
        progress(f"{shape}")
        for largest, zeros in product(args.largest, args.zeros):
            results += measure_layer(shape, args.precisions, largest, zeros, args.runs)
    print(format_table(*table(results), left=3))
    print("\n".join(summary(results)))
    if args.write is not None:
        args.write.write_text("\n".join(page(results, args.runs)) + "\n")


def measure_layer(shape: str, precisions: Sequence[Precision], largest: int, zeros: float, runs: int) -> Iterator[Measured]:
    """The second layer of a network of two, with every kernel in turn."""
    model, x = layers(shape, largest, zeros)
    for precision in precisions:
        [_, entry] = opq.Session(model, threads=1, precision=precision).plan()
        timings = {kind: time_second(model, x, precision, kind, runs) for kind in entry["seconds_per_pixel"]}
        estimated = {kind: timing.estimates[kind] for kind, timing in timings.items()}
        measured = {kind: timing.ms for kind, timing in timings.items()}
        yield Measured(shape, precision, largest, zeros, entry["kernel"], estimated, measured)


def time_second(model: opq.CompressedModel, x: Float32, precision: Precision, kind: str, runs: int) -> LayerTiming:
    """The second layer with this kernel."""
    session = opq.Session(model, threads=1, precision=precision, kernels={"second": kind})
    profiles = []
    for _ in range(_WARMUP + runs):
        session.run(None, {"x": x})
        profiles.append(session.profile())
    return next(t for t in layer_timings(profiles[_WARMUP:], session.plan()) if t.name.startswith("second"))


def layers(shape: str, largest: int, zeros: float) -> tuple[opq.CompressedModel, Float32]:
    """The network and its input."""
    rng = np.random.default_rng(0)
    kind, *sizes = shape.split("-")
    channels = int(sizes[0])
    kernel = 0 if kind == "fc" else int(kind.split("x")[0])
    window, image = ((), ()) if kind == "fc" else ((kernel, kernel), (int(sizes[1]), int(sizes[1])))
    nodes, tensors = [], {}
    for i, name in enumerate(("first", "second")):
        codes = np.rint(rng.laplace(scale=0.35 * largest, size=(channels, channels, *window)))
        codes = np.clip(np.where(codes == 0, 1, codes), -largest, largest).astype(np.int8)
        codes[rng.random(codes.shape) < zeros] = 0
        step = 1.0 / (largest * math.sqrt((1.01 - zeros) * codes[0].size))
        tensors[f"w{i}"] = QuantizedTensor(codes, step, largest)
        attributes = {} if kind == "fc" else {
            "strides": [1, 1], "dilations": [1, 1], "pads": [kernel // 2] * 4, "group": 1, "auto_pad": "NOTSET",
        }  # fmt: skip
        op = "Linear" if kind == "fc" else "Conv"
        nodes.append(Node(op, name, ("x" if i == 0 else "r0", f"w{i}"), (f"c{i}",), attributes))
        nodes.append(Node("Relu", f"relu{i}", (f"c{i}",), (f"r{i}",), {}))
    x = rng.standard_normal((1, channels, *image), dtype=np.float32)
    ends = [(ValueInfo(name, "float32", (None, channels, *image)),) for name in ("x", "r1")]
    ranges = {name: Range(-4.0 if name == "x" else 0.0, 4.0) for name in ("x", "r0", "r1")}
    return opq.CompressedModel(Graph(*ends, tuple(nodes)), tensors, ranges=ranges), x


def table(results: Sequence[Measured]) -> tuple[list[str], list[list[str]]]:
    """A layer per row: microseconds as the model says and as measured, by kernel."""
    kinds = ("sparse", "dense", "4-bit")
    rows = [
        [
            r.shape, r.precision, r.chosen, str(r.largest), f"{100 * r.zeros:g}",
            *(f"{1e3 * ms[kind]:.0f}" if kind in ms else "-" for kind in kinds for ms in (r.estimated, r.measured)),
            f"{100 * r.lost:.0f}",
        ]
        for r in results
    ]  # fmt: skip
    header = [f"{kind}{what}" for kind in kinds for what in (" model", "")]
    return ["shape", "precision", "chosen", "K", "zeros %", *header, "lost %"], rows


def summary(results: Sequence[Measured]) -> Iterator[str]:
    """How good the choices are."""
    for precision in PRECISIONS:
        lost = np.array([r.lost for r in results if r.precision == precision])
        if lost.size:
            yield (
                f"{precision}: the fastest kernel in {np.sum(lost == 0)} of {lost.size} layers; lost at the most "
                f"{100 * lost.max():.0f} %, in the mean {100 * lost.mean():.1f} %"
            )


def page(results: Sequence[Measured], runs: int) -> Iterator[str]:
    """The table under what is needed to judge it."""
    assert __doc__ is not None
    yield "# Kernels against the model that chooses among them"
    yield ""
    yield f"Written by `{command('benchmarks/kernel_choice.py', sys.argv[1:])}`"
    yield f"on {today_here()}."
    yield f"Medians of {runs} runs, microseconds."
    yield ""
    yield __doc__.split("\n\n")[2].strip()
    yield ""
    yield from (f"* {line}" for line in summary(results))
    yield ""
    header, rows = table(results)
    yield f"| {' | '.join(header)} |"
    yield "|---|---|---" + "|---:" * (len(header) - 3) + "|"
    yield from (f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()
