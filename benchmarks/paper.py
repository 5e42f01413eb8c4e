"""The paper's own mode beside the paper's figures: stage-wise, one codebook per layer, nothing per channel, no repairs.

    python benchmarks/paper.py [--images DIR_OR_ZIP] [--count 500] [--write benchmarks/PAPER.md]

The published rates come from secondary sources. For each of them, and codebooks of 3, 4 and 5 bits on average, the sparsity is
searched at which opq's paper rate is the published one; packed and file rate then say what those networks really take.

--images: a folder or zip archive of photographs with ImageNet's labels (see images.py); then MobileNet-V1, the network with
real weights, answers them at these settings and at milder ones, with repairs and without. The first call downloads it. All
takes about six minutes with 200 photographs.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import opq
from benchmarks import networks_of_the_paper
from benchmarks.candidates import Candidate, as_candidate, layer_weights
from benchmarks.fidelity import Judge
from benchmarks.fidelity_tables import Row, Table, tables
from benchmarks.imagenet_networks import NETWORKS
from benchmarks.images import Images, load_images
from benchmarks.machine import best_isa, cpu_name
from opq.budget import Budget
from opq.cli.tables import format_table, progress
from opq.problem import fixed_codebooks
from opq.statistics import LayerStatistics, measure
from opq.threads import available_cores

Weighting = Literal["one", "nsr"]

PUBLISHED = {"alexnet": 139.0, "mobilenet-v1": 23.0, "resnet-50": 38.0}
WEIGHTINGS: tuple[Weighting, ...] = ("one", "nsr")
MEAN_BITS = (3.0, 4.0, 5.0)
REAL = "mobilenet-v1"
MILDER = ((0.0, 8.0), (0.0, 6.0), (0.0, 5.0), (0.0, 4.0), (0.3, 6.0), (0.5, 6.0))  # sparsity, mean bits

_TOLERANCE, _GOOD_ENOUGH = 0.01, 0.001  # relative, of the paper rate
_GUESSES = 12


@dataclass(frozen=True)
class Setting:
    """The arguments of `opq.compress` in the paper's mode."""

    weighting: Weighting
    sparsity: float
    mean_bits: float

    def compress(self, model: opq.Model, repair: bool = False) -> opq.CompressedModel:
        return opq.compress(
            model, sparsity=self.sparsity, mean_bits=self.mean_bits, weighting=self.weighting,
            channel_scale="none", repair=repair,
        )  # fmt: skip

    def paper_rate(self, layers: Sequence[LayerStatistics]) -> float:
        """Predicted: 32 bits of all weights over the fixed-length bits of the survivors, a sign and one of K levels."""
        allocation = fixed_codebooks(layers, Budget(sparsity=self.sparsity, mean_bits=self.mean_bits), self.weighting, {}, 1.0)
        counts = np.array([layer.count for layer in layers], dtype=np.float64)
        bits = [np.ceil(np.log2(2.0 * layer.levels)) * (1.0 - layer.sparsity) for layer in allocation]
        return float(32.0 * counts.sum() / (counts @ bits))


def main() -> None:
    """Measure and print, and write the Markdown file where one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, metavar="DIR_OR_ZIP")
    parser.add_argument("--count", type=int, default=500, help="photographs, spread over all of them (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=min(2, available_cores()))
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the tables as Markdown")
    args = parser.parse_args()
    images = None if args.images is None else load_images(args.images, args.count)
    found = []
    cells = []
    for name, published in PUBLISHED.items():
        progress(f"{name}: reading")
        model = network(name)
        for setting in settings(model, published):
            progress(f"{name}: {described(setting)}")
            cells.append(rates(name, setting, published, setting.compress(model).report))
            if name == REAL:
                found.append(setting)
    results: list[Table] = [("Rates", RATES_HEADER, cells)]
    if images is not None:
        [(_, header, body)] = tables(answers(found, images, args.threads), REAL)
        results.append((f"{REAL} before fine-tuning", header, body))
    print("\n\n".join(f"{title}\n\n{format_table(header, body)}" for title, header, body in results))
    if args.write is not None:
        args.write.write_text(markdown(results, images, args))


def network(name: str) -> opq.Model:
    """MobileNet-V1 with its ImageNet weights, the others with synthetic ones."""
    return opq.load_onnx(NETWORKS[name].path() if name == REAL else networks_of_the_paper.build(name))


def settings(model: opq.Model, published: float) -> list[Setting]:
    """For each weighting and number of bits the sparsity that gives the published paper rate."""
    layers = [measure(name, weights, 0, "none", True) for name, weights in layer_weights(model).items()]
    return [nearest(layers, published, weighting, bits) for weighting in WEIGHTINGS for bits in MEAN_BITS]


def nearest(layers: Sequence[LayerStatistics], published: float, weighting: Weighting, mean_bits: float) -> Setting:
    """The setting whose predicted paper rate is the published one.

    rate = 32 / (bits * (1 - sparsity)), and the bits that are counted hardly depend on the sparsity: what they are at one guess
    gives the next. They jump where a layer's codebook gets another size, so the nearest of all that were tried counts.
    """
    bits = mean_bits
    tried: list[tuple[float, Setting]] = []
    for _ in range(_GUESSES):
        setting = Setting(weighting, 1.0 - 32.0 / (bits * published), mean_bits)
        rate = setting.paper_rate(layers)
        tried.append((abs(rate / published - 1.0), setting))
        if tried[-1][0] < _GOOD_ENOUGH:
            break
        bits = 32.0 / (rate * (1.0 - setting.sparsity))
    error, best = min(tried, key=lambda pair: pair[0])
    if error > _TOLERANCE:
        progress(f"{described(best)}: its paper rate, {best.paper_rate(layers):.1f}, is the nearest to {published:g}")
    return best


def answers(found: Sequence[Setting], images: Images, threads: int) -> list[Row]:
    """The dense network, then every setting without repairs and with: rows for the tables of fidelity.py."""
    model = network(REAL)
    judge = Judge(NETWORKS[REAL], model, images, threads)
    dense = Candidate(model, model.dense_bytes, 0.0, 1.0, 1.0)
    rows = [Row(REAL, "dense", "", None, None, model.dense_bytes, dense, judge.dense_scores, 0.0)]
    milder = [Setting(weighting, sparsity, bits) for weighting in WEIGHTINGS for sparsity, bits in MILDER]
    for setting in sorted([*milder, *found], key=lambda setting: (setting.weighting, paper_size(setting))):
        progress(f"{REAL}: answers of {described(setting)}")
        for repaired in (False, True):
            start = time.perf_counter()
            candidate = as_candidate(setting.compress(model, repaired))
            seconds = time.perf_counter() - start
            method = f'"{setting.weighting}"'
            text = f"{100.0 * setting.sparsity:.1f} % zeros, {setting.mean_bits:g} bits"
            scores = judge.scores(candidate)
            rows.append(Row(REAL, method, text, None, repaired, model.dense_bytes, candidate, scores, seconds))
    return rows


def paper_size(setting: Setting) -> float:
    """Bits per weight as the paper counts, by the setting's own numbers; the largest first."""
    return -setting.mean_bits * (1.0 - setting.sparsity)


def described(setting: Setting) -> str:
    return f'weighting "{setting.weighting}", sparsity {setting.sparsity:.3f}, mean bits {setting.mean_bits:g}'


RATES_HEADER = [
    "network", "weights", "weighting", "mean_bits", "sparsity", "bits counted", "least and most zeros of a layer %",
    "published", "paper rate", "packed rate", "file rate", "file MB",
]  # fmt: skip


def rates(name: str, setting: Setting, published: float, report: dict[str, Any]) -> list[str]:
    """A row of the table of rates."""
    totals = report["totals"]
    zeros = [100.0 * layer["sparsity"] for layer in report["layers"]]
    bits = 32.0 * totals["quantized_weights"] / (totals["paper_rate"] * totals["survivors"])
    return [
        name, "real" if name == REAL else "synthetic", f'"{setting.weighting}"', f"{setting.mean_bits:g}",
        f"{totals['sparsity']:.4f}", f"{bits:.2f}", f"{min(zeros):.0f}-{max(zeros):.1f}", f"{published:g}",
        f"{totals['paper_rate']:.1f}", f"{totals['packed_rate']:.1f}", f"{totals['file_rate']:.1f}",
        f"{totals['file_bytes'] / 1e6:.3f}",
    ]  # fmt: skip


def markdown(results: Sequence[Table], images: Images | None, args: argparse.Namespace) -> str:
    """Both tables, with what is needed to judge and to repeat them."""
    source = "" if args.images is None else f" --images {args.images.name} --count {args.count}"
    lines = [
        "# The paper's mode beside the paper's figures",
        "",
        f"Written by `python benchmarks/paper.py{source}` on {datetime.date.today().isoformat()}:",
        f"{cpu_name()}, {available_cores()} cores, {args.threads} threads, instruction set {best_isa()};",
        f"opq {opq.__version__}, Python {platform.python_version()}, NumPy {np.__version__}.",
        "",
        *_NOTES.splitlines(),
    ]
    for title, header, body in results:
        lines += ["", f"## {title}", ""]
        if images is not None and title != "Rates":
            lines += [f"Photographs: {images.source}.", *_ANSWERS.splitlines(), ""]
        lines += [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in body]
    return "\n".join(lines) + "\n"


_NOTES = """\
`opq.compress(model, sparsity=..., mean_bits=..., channel_scale="none", repair=False, weighting=...)`: one threshold, one step
and one codebook per layer, nothing per channel. Weighting "one" is plain squared error, "nsr" opq's default.

"published" are the rates of OPQ (AAAI 2021), after fine-tuning. They are second-hand: we have not seen the paper's tables
ourselves, and not the sparsity and bits behind them. Probably they count the survivors' bits only, without the bytes that say
where the survivors are. opq's paper rate counts in that way, so for each number of bits the sparsity was searched at which it
comes out as published, within 1 %. These are therefore not reproductions of the published networks; what the table shows is how
far the three rates are apart.

"bits counted" are those of a fixed-length code of the survivors, which the paper rate is made of. They are fewer than
`mean_bits` where layers have 2-bit codebooks: `mean_bits` counts 2 for them, the rate only the sign. And they are fewer where
those that are left do not suffice for another bit in a large layer: AlexNet's fc6 has 62 % of all weights.

MobileNet-V1 has its trained ImageNet weights. AlexNet and ResNet-50 have synthetic Laplace weights: good for rates only."""

_ANSWERS = """\
They are read for accuracy before against after; no claim about the network's accuracy is made. Nothing is fine-tuned, as the
published networks are. In parentheses: 95 % intervals by bootstrap over the photographs. KL is the divergence of the compressed
network's class probabilities from the dense one's, in nats. "method" is the weighting; "setting" is what was asked for.
"repairs" are opq's corrections of scales and biases from BatchNorm's statistics, which the paper does not have."""


if __name__ == "__main__":
    main()
