"""What the repairs want to know of weights or codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from opq.reference.passes.lane_sums import Array, lane_sums
from opq.reference.passes.magnitudes import Float32


def row_sums(values: npt.NDArray[Any], steps: Float32, x: Array) -> tuple[Array, Array]:
    """By row, sum v^2 and sum v x of v = float32(value * step), for float32 or int8 values [rows, length], steps [rows].

    x is [rows, length], or [1, length] for all rows.
    """
    v = (values.astype(np.float32) * steps[:, None]).astype(np.float64)
    return lane_sums(np.square(v)), lane_sums(v * x)
