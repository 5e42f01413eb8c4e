"""Codes from weights, and what they lose."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opq.reference.passes.lane_sums import lane_sum
from opq.reference.passes.magnitudes import Float32, magnitudes

Codes = npt.NDArray[np.int8]


def nearest_codes(weights: Float32, scale: Float32, threshold: float, step: float, levels: int) -> Codes:
    """code = sign(w) clip(rint(m / step), 1, levels) where the weight survives, else 0.

    m > float32(threshold) survives; with a threshold of 0 exactly what is not zero does. The quotient is a float32, ties go to
    even. So a survivor never becomes zero, and a pruned weight never comes back.
    """
    m = magnitudes(weights, scale)
    keep = m > np.float32(threshold) if threshold > 0.0 else weights != 0
    with np.errstate(over="ignore"):  # an infinite quotient is a large one
        code = np.clip(np.rint(m / np.float32(step)), 1.0, np.float32(levels))
    return np.asarray(np.copysign(code * keep, weights), dtype=np.int8)


def squared_error(weights: Float32, scale: Float32, codes: Codes, step: float) -> tuple[float, float]:
    """Sum of (m - step |code|)^2, for a float32 step, and sum of m^2, both in float64."""
    m = magnitudes(weights, scale).astype(np.float64)
    difference = m - float(np.float32(step)) * np.abs(codes)
    return lane_sum(np.square(difference)), lane_sum(np.square(m))
