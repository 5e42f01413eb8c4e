"""The curves of fidelity.py: accuracy and divergence against the file rate, one picture per network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.fidelity_tables import Row

_TICKS = (4, 6, 8, 12, 16, 24, 32)  # file rates


def draw(rows: Sequence[Row], folder: Path) -> dict[str, Path]:
    """fidelity-<network>.png for every network; the paths by network. Raises ImportError without matplotlib."""
    from matplotlib.figure import Figure

    paths = {}
    for network in dict.fromkeys(row.network for row in rows):
        own = [row for row in rows if row.network == network]
        figure = Figure(figsize=(11, 4.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        _accuracy(left, own)
        _divergence(right, own)
        for axes in (left, right):
            axes.set_xscale("log")
            ticks = [rate for rate in _TICKS if rate <= 1.1 * max(row.file_rate for row in own)]
            axes.set_xticks(ticks, [f"{tick}x" for tick in ticks])
            axes.minorticks_off()
            axes.set_xlabel("dense bytes / file bytes")
            axes.grid(alpha=0.3)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", fontsize="small", title="dashed: without repairs")
        figure.suptitle(network)
        paths[network] = folder / f"fidelity-{network}.png"
        figure.savefig(paths[network], dpi=110, metadata={"Software": None})
    return paths


def _accuracy(axes: Any, rows: Sequence[Row]) -> None:
    dense = rows[0].scores.top1
    if dense is not None:
        axes.axhline(100.0 * dense.mean, color="gray", linewidth=0.8)
        _curves(axes, rows, lambda row: 100.0 * row.scores.top1.mean)
        axes.set_title("top-1, % (gray: dense)")
    else:
        _curves(axes, rows, lambda row: 100.0 * row.scores.agreement.mean)
        axes.set_title("agreement with the dense network, %")


def _divergence(axes: Any, rows: Sequence[Row]) -> None:
    _curves(axes, rows, lambda row: max(row.scores.divergence.mean, 1e-6))
    axes.set_yscale("log")
    axes.set_title("KL from the dense network, nats")


def _curves(axes: Any, rows: Sequence[Row], value: Any) -> None:
    """A colour per method: solid with repairs, or where there is no choice; dashed without. A lone point is a marker."""
    methods = [method for method in dict.fromkeys(row.method for row in rows) if method != "dense"]
    for i, method in enumerate(methods):
        for repaired, style in ((True, "-"), (None, "-"), (False, "--")):
            points = sorted(
                (row.file_rate, value(row)) for row in rows if row.method == method and row.repaired is repaired
            )  # fmt: skip
            if not points:
                continue
            look = {"color": f"C{i}", "linewidth": 1.0, "marker": "o", "markersize": 4.0}
            if method == "opq":
                look.update(linewidth=2.2, zorder=3)
            if repaired is False:
                look.update(markerfacecolor="none")
            axes.plot(*zip(*points), style, label=None if repaired is False else method, **look)
