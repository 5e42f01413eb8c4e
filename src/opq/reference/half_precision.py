"""float32 numbers in two bytes: how dense tensors and channel scales may lie in a file (docs/format.md, Payloads).

    float16    sign 1 | exponent 5 | fraction 10    11 significant bits, from 2^-24 (2^-14 with all bits) to 65504
    bfloat16   sign 1 | exponent 8 | fraction 7      8 significant bits, the range of float32, whose upper half it is

Both widen to float32 exactly. So a file holds a tensor in two bytes an element whenever rounding would not change it, and
whoever wants that of another tensor rounds it in memory first: a model and its file always hold the same numbers.

The argument `half` is one of HALVES.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

HALVES = ("bfloat16", "float16")

Float32 = npt.NDArray[np.float32]


def narrow(values: Float32, half: str) -> npt.NDArray[np.uint16]:
    """The bits of each value rounded to nearest, ties to even: to infinity beyond the largest number; NaN stays NaN."""
    if half == "float16":
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return values.astype(np.float16).view(np.uint16)
    bits = values.view(np.uint32).astype(np.int64)
    # Half a unit of the last place that stays; a little less where that place is even, so that a tie does not carry.
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    quiet = bits >> 16 | 0x40  # of a NaN: its fraction does not become 0, which would be infinity
    return np.where(np.isnan(values), quiet, rounded).astype(np.uint16)


def widen(bits: npt.NDArray[np.uint16], half: str) -> Float32:
    """The numbers that `bits` stand for."""
    if half == "float16":
        with np.errstate(invalid="ignore"):
            return bits.view(np.float16).astype(np.float32)
    return np.asarray(np.left_shift(bits, 16, dtype=np.uint32)).view(np.float32)


def round_to(values: Float32, half: str) -> Float32:
    """Each value rounded as `narrow` does."""
    return widen(narrow(values, half), half)


def exact_half(values: Float32) -> str | None:
    """bfloat16 or else float16 if every value is such a number, to the bit; None otherwise."""
    bits = values.view(np.uint32)
    return next((half for half in HALVES if np.array_equal(round_to(values, half).view(np.uint32), bits)), None)
