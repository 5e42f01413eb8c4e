"""What the allocation wants to know of a layer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opq.reference.passes.lane_sums import Array, lane_sum, lane_sums
from opq.reference.passes.magnitudes import Float32, magnitudes


def all_finite(values: Float32) -> bool:
    """Whether no value [n] is NaN or infinite."""
    return bool(np.isfinite(values).all())


def channel_energies(weights: Float32) -> tuple[Array, bool]:
    """The sum of w^2 over every row, and whether all |w| of a row are equal, in every row."""
    m = np.abs(weights)
    return lane_sums(np.square(weights, dtype=np.float64)), bool((m == m[:, :1]).all())


def moments(weights: Float32, scale: Float32) -> tuple[int, float, float, float, float]:
    """Of the magnitudes: how many are not zero; the least of those, or 0; the largest; sum of m; sum of m^2."""
    m = magnitudes(weights, scale)
    nonzeros = m[m > 0]
    total, energy = lane_sum(m.astype(np.float64)), lane_sum(np.square(m, dtype=np.float64))
    return nonzeros.size, float(nonzeros.min()) if nonzeros.size else 0.0, float(m.max()), total, energy


def histogram(weights: Float32, scale: Float32, bin_width: float, bins: int) -> tuple[npt.NDArray[np.int64], Float32]:
    """Magnitudes by min(m / bin_width, bins - 1), a float64 division, and those >= float32(bin_width (bins - 1)) in C order."""
    m = magnitudes(weights, scale).reshape(-1)
    index = np.minimum(m.astype(np.float64) / bin_width, bins - 1).astype(np.int64)
    return np.bincount(index, minlength=bins), m[m >= np.float32(bin_width * (bins - 1))]
