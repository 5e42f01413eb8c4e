"""The step of a codebook that fits a layer's own histogram: outliers that a Laplace distribution has not are not clipped away.

The finer the codebook is, the more that is worth against the step of `laplace.best_step`.
"""

from __future__ import annotations

import numpy as np

from opq.bytes_problem import Array
from opq.statistics import HISTOGRAM_BINS, LayerStatistics

_COARSE, _FINE = 40, 16


def histogram_step(layer: LayerStatistics, threshold: float, levels: int) -> tuple[float, float]:
    """(step, squared error per weight) of the best codebook of so many levels per sign; what is up to the threshold is zero.

    layer  with its histogram
    """
    assert layer.tail is not None
    middles = layer.bin_width * (np.arange(HISTOGRAM_BINS - 1) + 0.5)
    m = np.concatenate([middles, layer.outliers])
    count = np.concatenate([-np.diff(layer.tail[:-1]), np.ones(layer.outliers.size)]) / layer.count
    pruned = m <= threshold
    filled = (count > 0.0) & ~pruned
    lost = float(count[pruned] @ m[pruned] ** 2)
    m, count = m[filled], count[filled]

    def errors(steps: Array) -> Array:
        codes = np.clip(np.rint(m / steps[:, None]), 1.0, levels)
        return np.asarray(((m - codes * steps[:, None]) ** 2) @ count)

    # The last level lies between half the mean and the largest magnitude.
    low, high = 0.5 * layer.mean_nonzero / levels, layer.maximum / levels
    for points in (_COARSE, _FINE):
        steps = np.geomspace(low, high, points)
        found = errors(steps)
        best = int(np.argmin(found))
        low, high = steps[max(0, best - 1)], steps[min(points - 1, best + 1)]
    return float(steps[best]), lost + float(found[best])
