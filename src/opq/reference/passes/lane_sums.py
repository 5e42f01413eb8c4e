"""Sums in float64 whose order is fixed, so that NumPy, the core and any number of threads agree to the bit.

in a block of 4096 terms  lane j = t[j] + t[j + 8] + t[j + 16] + ...         one addition after the other
                          ((l0 + l1) + (l2 + l3)) + ((l4 + l5) + (l6 + l7))
over the blocks           from first to last
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BLOCK = 4096
LANES = 8

Array = npt.NDArray[np.float64]


def lane_sums(terms: Array) -> Array:
    """The sum of each row of [rows, length]."""
    rows, length = terms.shape
    total = np.zeros(rows)
    for begin in range(0, length, BLOCK):
        block = terms[:, begin : begin + BLOCK]
        lanes = np.zeros((rows, LANES))
        for i in range(0, block.shape[1], LANES):
            part = block[:, i : i + LANES]
            lanes[:, : part.shape[1]] += part
        pairs = lanes[:, ::2] + lanes[:, 1::2]
        fours = pairs[:, ::2] + pairs[:, 1::2]
        total += fours[:, 0] + fours[:, 1]
    return total


def lane_sum(terms: Array) -> float:
    """The sum of all terms in C order."""
    return float(lane_sums(terms.reshape(1, -1))[0])
