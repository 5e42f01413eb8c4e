"""Bars per layer: sparsity, bits, bytes, share of the error."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from opq.plotting.style import BLUE, GREEN, GREY, INK, PURPLE, SMALL, STRIPE, TEXT, TITLE, VERMILLION, label, plain, size_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

_ROW = 0.175  # inches of a layer
_TALLEST = 250.0  # inches: beyond it the rows become thinner, and not every one has a label
_NAME = 60  # characters


def layers_height(report: dict[str, Any]) -> float:
    """Inches that `draw_layers` needs."""
    return min(_TALLEST, 1.3 + _ROW * max(4, len(report["layers"])))


def draw_layers(figure: FigureBase, report: dict[str, Any], title: str, marked: str | None = None) -> None:
    """A row per layer of `opq.report.build_report`, in the graph's order from above; the name `marked` stands out.

    A layer's share of the error is its squared error over squared weights, divided by the sum of that over the layers: the
    terms of the sum that the allocation minimises. Where the file does not tell the real errors, there are no bars.
    """
    layers = report["layers"]
    panels = figure.subplots(1, 4, sharey=True)
    errors = [layer["real_error"] for layer in layers]
    total = math.fsum(error for error in errors if error is not None) or 1.0
    shares = [None if error is None else error / total for error in errors]
    _bars(panels[0], "zeros", [layer["sparsity"] for layer in layers], BLUE, _percent)
    _bars(panels[1], "bits per weight", [layer["real_bits"] for layer in layers], GREEN, "{:.2f}".format)
    _bars(panels[2], "bytes in the file", [layer["bytes"] for layer in layers], PURPLE, size_label)
    _bars(panels[3], "share of the error", shares, VERMILLION, _percent)
    if layers and all(share is None for share in shares):
        panels[3].text(0.5, 0.5, "not in the file", transform=panels[3].transAxes, ha="center", color=GREY, fontsize=TEXT)
    _name_rows(panels[0], [layer["name"] for layer in layers], marked)
    figure.suptitle(_heading(report, title), fontsize=TITLE, color=INK, parse_math=False)


def _heading(report: dict[str, Any], title: str) -> str:
    totals = report["totals"]
    return (
        f"{label(title, 60)}: {size_label(totals['file_bytes'])}, {totals['file_rate']:.3g}x smaller than dense, "
        f"{100.0 * totals['sparsity']:.1f} % of {totals['quantized_weights']:,} weights are zero"
    )


def _percent(share: float) -> str:
    return f"{100.0 * share:.1f} %"


def _bars(axes: Axes, title: str, values: Sequence[float | None], color: str, text: Callable[[float], str]) -> None:
    """Bars with their values at the ends; None has neither."""
    plain(axes)
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.tick_params(length=0.0, labelbottom=False)
    known = [(row, value) for row, value in enumerate(values) if value is not None]
    axes.barh([row for row, _ in known], [value for _, value in known], height=0.72, color=color)
    largest = max((value for _, value in known), default=0.0) or 1.0
    width = 1.36 * largest  # room for the text behind the longest bar
    axes.barh(range(0, len(values), 2), width, height=1.0, color=STRIPE, zorder=0.5)  # leads the eye from the name on
    axes.set_xlim(0.0, width)
    for row, value in known:
        # Inside the axes in any case, so the layout need not measure it.
        axes.text(
            value + 0.02 * largest, row, text(value), va="center_baseline", fontsize=SMALL, color=INK, in_layout=False,
        )  # fmt: skip
    axes.set_title(title, fontsize=TEXT, color=INK, loc="left")


def _name_rows(axes: Axes, names: Sequence[str], marked: str | None) -> None:
    step = math.ceil(len(names) * _ROW / _TALLEST) or 1
    rows = range(0, len(names), step)
    axes.set_yticks(rows, [label(names[row], _NAME) for row in rows], parse_math=False)
    axes.tick_params(axis="y", labelsize=SMALL)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    for row, tick in zip(rows, axes.get_yticklabels()):
        if names[row] == marked:
            tick.set_fontweight("bold")
            tick.set_color(VERMILLION)
