"""Size against error, predicted and real."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from opq.pareto import ParetoFront, ParetoPoint
from opq.plotting.style import BLUE, INK, PALE, TEXT, TITLE, VERMILLION, label, plain, size_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase


def draw_pareto(figure: FigureBase, front: ParetoFront, title: str) -> None:
    """The predicted curve, the files encoded along it, and the chosen one, on logarithmic axes."""
    axes = figure.subplots()
    plain(axes)
    axes.set_xscale("log")
    points = (*front.predicted, *front.real, *(() if front.chosen is None else (front.chosen,)))
    if any(point.error > 0.0 for point in points):  # not so where all weights have one magnitude
        axes.set_yscale("log")
    axes.grid(which="major", color=PALE, linewidth=0.8)
    axes.plot(*_columns(front.predicted), color=BLUE, linewidth=2.0, label="predicted from the weights' statistics")
    if front.real:
        axes.plot(
            *_columns(front.real), "o", color="white", markeredgecolor=INK, markeredgewidth=1.4, markersize=7.0,
            label="real: files that were encoded",
        )  # fmt: skip
    if front.chosen is not None:
        _mark(axes, front.chosen)
    axes.set_xlabel("size of the file", fontsize=TEXT, color=INK)
    axes.set_ylabel("squared error over squared weights, mean of the layers", fontsize=TEXT, color=INK)
    axes.legend(fontsize=TEXT, frameon=False, loc="lower left", labelcolor=INK)  # under the curve, which falls to the right
    figure.suptitle(label(title, 80), fontsize=TITLE, color=INK, parse_math=False)
    _scale_sizes(axes, front.dense_bytes)


def _columns(points: tuple[ParetoPoint, ...]) -> tuple[list[float], list[float]]:
    return [point.bytes for point in points], [point.error for point in points]


def _mark(axes: Axes, point: ParetoPoint) -> None:
    """A diamond, its numbers in the legend, where they hide no other point."""
    text = (
        f"chosen: {size_label(point.bytes)}, {point.ratio:.3g}x smaller,\n"
        f"{100.0 * point.sparsity:.1f} % of the weights zero, error {point.error:.2g}"
    )
    axes.plot([point.bytes], [point.error], "D", color=VERMILLION, markersize=9.0, label=text, zorder=3)


def _scale_sizes(axes: Axes, dense_bytes: int) -> None:
    """Sizes below, and above them how many times smaller than the dense network that is."""
    low, high = axes.get_xlim()
    above = axes.twiny()
    above.set_xscale("log")
    above.spines[:].set_visible(False)
    above.tick_params(labelsize=TEXT, color=PALE, labelcolor=INK)
    above.set_xlabel("dense bytes over bytes of the file", fontsize=TEXT, color=INK)
    sizes, ratios = _round_numbers(low, high), _round_numbers(dense_bytes / high, dense_bytes / low)
    for scale, ticks, labels in ((axes, sizes, map(size_label, sizes)), (above, ratios, (f"{ratio:.3g}x" for ratio in ratios))):
        scale.set_xticks(ticks, list(labels))
        scale.set_xticks([], minor=True)
    axes.set_xlim(low, high)
    above.set_xlim(dense_bytes / low, dense_bytes / high)


def _round_numbers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten from low to high, positive numbers; four others where these are too few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    numbers = [digit * 10.0**power for power in powers for digit in (1, 2, 5) if low <= digit * 10.0**power <= high]
    return numbers if len(numbers) > 1 else [low * (high / low) ** share for share in (0.2, 0.4, 0.6, 0.8)]
