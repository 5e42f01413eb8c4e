"""Joint allocation on the layers' own histograms: what the assumption of Laplace weights costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from opq.bytes_problem import Array
from opq.joint import SMALL_LAYER, JointProblem, Predictions, least_density
from opq.layer_allocation import is_constant
from opq.quantization import MAX_LEVELS
from opq.statistics import HISTOGRAM_BINS, LayerStatistics

# Thresholds in steps, and steps from the finest to one level, that are tried for every layer.
_RATIOS = np.linspace(0.45, 1.4, 20)
_STEPS = 96


class HistogramProblem(JointProblem):
    """Every layer takes the pair of a grid of steps and thresholds that costs least in error + lambda * bits.

    Layers without a histogram of their own (few weights, or of one magnitude) are those of `JointProblem`.
    """

    def __init__(self, layers: Sequence[LayerStatistics], units: npt.ArrayLike) -> None:
        super().__init__(layers, units)
        self._grids = {
            i: _grid(layer)
            for i, layer in enumerate(layers)
            if layer.tail is not None and layer.count >= SMALL_LAYER and not is_constant(layer)
        }

    def predictions(self, log_multiplier: float) -> Predictions:
        """Thresholds and steps, and what they do to the histograms."""
        found = [np.array(column) for column in super().predictions(log_multiplier)]
        multipliers = self._multipliers(log_multiplier)
        for i, grid in self._grids.items():
            best = int(np.argmin(grid.distortion + multipliers[i] * grid.rate))
            for column, values in zip(found, grid, strict=True):
                column[i] = values[best]
        return Predictions(*found)


def _grid(layer: LayerStatistics) -> Predictions:
    """All pairs that leave at least the weights that the joint mode leaves, [pairs]."""
    assert layer.tail is not None
    edges = layer.bin_width * np.arange(HISTOGRAM_BINS + 1)
    edges[-1] = max(edges[-1], layer.maximum)
    m = (edges[:-1] + edges[1:]) / 2.0
    count = -np.diff(layer.tail)
    count /= layer.count  # the rest is zeros
    pruned_error = np.concatenate([[0.0], np.cumsum(count * m**2)])
    columns: list[list[Array]] = [[] for _ in Predictions._fields]
    least = least_density(layer)
    for step in np.geomspace(layer.maximum / MAX_LEVELS, layer.maximum, _STEPS):
        levels = np.clip(np.rint(m / step), 1, max(1, round(layer.maximum / step))).astype(np.int64)
        kept_error = np.concatenate([np.cumsum((count * (m - step * levels) ** 2)[::-1])[::-1], [0.0]])
        first = np.searchsorted(m, _RATIOS * step)  # the first bin that survives
        survivors = layer.tail[first] / layer.count
        by_level = np.bincount(levels, weights=count)
        rest = float(_information(by_level[2:]).sum())
        ones = np.maximum(survivors - by_level[2:].sum(), 0.0)
        rate = _information(1.0 - survivors) + _information(ones) + rest + survivors
        columns_here = (
            _RATIOS * step,
            np.full(len(first), step),
            1.0 - survivors,
            pruned_error[first] + kept_error[first],
            rate,
        )
        allowed = survivors >= min(least, layer.nonzeros / layer.count)
        for column, values in zip(columns, columns_here, strict=True):
            column.append(values[allowed])
    tau, delta, sparsity, distortion, rate = (np.concatenate(column) for column in columns)
    b = layer.mean
    return Predictions(tau / b, delta / b, sparsity, distortion / b**2, rate)


def _information(p: npt.ArrayLike) -> Array:
    """-p log2 p."""
    p = np.maximum(np.asarray(p, dtype=np.float64), 1e-300)
    return np.asarray(-p * np.log2(p))
