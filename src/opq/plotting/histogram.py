"""The weights of one layer with the threshold, the levels and the borders between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from opq.plotting.style import GREEN, GREY, INK, ORANGE, SKY, TEXT, TITLE, VERMILLION, label, plain
from opq.quantization import QuantizedTensor
from opq.weights import channel_scales

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

_BINS = 240  # at most; fewer for a small layer
_CUT_OUT = 6.4  # steps beyond the threshold that the right side shows
_NUMBERED = 21  # levels at most have their codes written over them
_HEADROOM = 1.18  # over the bars, for the levels


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """A layer before and after quantization.

    values     float32 [n]: the weights in units of their channels' scales, as the codebook sees them
    pruned     bool [n]: which have code 0
    step       the distance of two levels
    levels     K: the levels are -K * step to K * step
    threshold  magnitudes up to it have code 0; None where each code was weighed alone and no magnitude divides them
    """

    name: str
    values: npt.NDArray[np.float32]
    pruned: npt.NDArray[np.bool_]
    step: float
    levels: int
    threshold: float | None


def layer_weights(
    name: str, weights: npt.NDArray[np.float32], tensor: QuantizedTensor, threshold: float | None
) -> LayerWeights:
    """From the dense weights that `tensor` was made of. Raises ValueError for another shape.

    The scales are those that the codes were chosen for: the tensor's own may have been repaired since.
    """
    if weights.shape != tensor.shape:
        raise ValueError(f"layer {name!r}: the weights have shape {weights.shape}, the compressed ones {tensor.shape}")
    values = weights
    if tensor.axis is not None:
        scale = channel_scales(weights, tensor.axis)
        values = np.moveaxis(np.moveaxis(weights, tensor.axis, -1) / scale, -1, tensor.axis)
    return LayerWeights(name, values.ravel(), (tensor.codes == 0).ravel(), tensor.step, tensor.levels, threshold)


def draw_histogram(figure: FigureBase, layer: LayerWeights) -> None:
    """On the left all weights, on the right those around the threshold, where single levels can be told apart."""
    whole, near = figure.subplots(1, 2)
    border = layer.step / 2.0 if layer.threshold is None else layer.threshold
    everything = 1.03 * max(float(np.abs(layer.values).max()), layer.step)
    _bars(whole, layer, everything)
    whole.set_yscale("log")
    bottom, top = 0.7, whole.get_ylim()[1]
    whole.set_ylim(bottom, bottom * (top / bottom) ** _HEADROOM)
    whole.set_title(f"all weights, {2 * layer.levels + 1} levels", fontsize=TEXT, color=INK, loc="left")
    _bars(near, layer, min(everything, max(border, layer.step) + _CUT_OUT * layer.step))
    near.set_ylim(0.0, near.get_ylim()[1] * _HEADROOM)
    near.set_title("around zero", fontsize=TEXT, color=INK, loc="left")
    _borders(near, layer, border)
    for axes in (whole, near):
        _levels(axes, layer)
    figure.legend(*near.get_legend_handles_labels(), fontsize=TEXT, frameon=False, loc="outside right center", labelcolor=INK)
    figure.suptitle(label(layer.name, 80), fontsize=TITLE, color=INK, parse_math=False)


def _bars(axes: Axes, layer: LayerWeights, end: float) -> None:
    """Counts of the weights in [-end, end], and over them of those that become zero."""
    plain(axes)
    bins = int(np.clip(1.5 * np.sqrt(layer.values.size), _BINS / 6, _BINS))
    for values, color, text in ((layer.values, SKY, "survives"), (layer.values[layer.pruned], GREY, "becomes zero")):
        counts, edges = np.histogram(values, bins=bins, range=(-end, end))
        axes.stairs(counts, edges, fill=True, color=color, linewidth=0.0, label=text)
    axes.set_xlim(-end, end)
    axes.tick_params(axis="y", which="both", labelsize=TEXT, color=GREY)
    axes.set_xlabel("weight over the scale of its channel", fontsize=TEXT, color=INK)
    axes.set_ylabel("number of weights", fontsize=TEXT, color=INK)


def _levels(axes: Axes, layer: LayerWeights) -> None:
    """A stroke above the bars for every level, and its code over it where there is room."""
    end = axes.get_xlim()[1]
    codes = np.arange(-layer.levels, layer.levels + 1)
    codes = codes[np.abs(codes) * layer.step <= end]
    few, across = len(codes) <= _NUMBERED, axes.get_xaxis_transform()
    axes.vlines(codes * layer.step, 0.9, 0.95, transform=across, color=GREEN, linewidth=1.8 if few else 0.8, label="level")
    if few:
        for code in codes:
            axes.text(code * layer.step, 0.955, f"{code}", transform=across, ha="center", fontsize=TEXT, color=GREEN)


def _borders(axes: Axes, layer: LayerWeights, border: float) -> None:
    """The threshold, and beyond it the midpoints between two levels, which are the other borders of the nearest codes."""
    middles = (np.arange(1, layer.levels) + 0.5) * layer.step
    middles = middles[(middles > border) & (middles < axes.get_xlim()[1])]
    lines = [(middles, "border of two levels", ORANGE, "-", 0.9)]
    if layer.threshold:
        lines.append((np.array([border]), f"threshold {border:.3g}", VERMILLION, "--", 1.6))
    for places, text, color, style, width in lines:
        both, across = np.concatenate([-places, places]), axes.get_xaxis_transform()
        axes.vlines(both, 0.0, 0.88, transform=across, color=color, linestyle=style, linewidth=width, label=text)
