"""Activations held as integers: value = scale * (q - zero).

    int8    q in 0..255        scale = (hi - lo) / 255,            zero = round(-lo / scale)
    int16   q in -32767..32767 scale = 4 * max(-lo, hi) / 32767,   zero = 0

for a range lo <= 0 <= hi, so that 0, which pads images, is an integer exactly. Scales are float32. A range is chosen for
8 bits, where it pays to clip what is rare; 16 bits reach four times as far instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from opq.reference.ranges_section import Range

Precision = Literal["int8", "int16"]
Float32 = npt.NDArray[np.float32]

_HEADROOM = 4.0


@dataclass(frozen=True)
class Grid:
    """The values scale * (q - zero) for q from least to most. scale is a positive, finite float32."""

    scale: np.float32
    zero: int
    least: int
    most: int

    def quantize(self, x: Float32) -> npt.NDArray[np.int32]:
        """The nearest q, ties to even, of x * float32(1 / scale); NaN becomes zero, as 0 does."""
        inverse = np.float32(1.0) / self.scale
        with np.errstate(over="ignore", invalid="ignore"):
            q = np.rint(x * inverse)
        q = np.clip(np.where(np.isnan(q), np.float32(0.0), q), self.least - self.zero, self.most - self.zero)
        return np.asarray(q.astype(np.int32) + np.int32(self.zero))


@dataclass(frozen=True, eq=False)
class Quantized:
    """An activation as integers on a grid. q is int32, whatever type the core holds it in."""

    q: npt.NDArray[np.int32]
    grid: Grid

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the activation."""
        return self.q.shape

    @property
    def centred(self) -> npt.NDArray[np.int32]:
        """q - zero."""
        return np.asarray(self.q - np.int32(self.grid.zero))

    def dequantize(self) -> Float32:
        """The values: float32(q - zero) * scale, rounded once."""
        return np.asarray(self.centred.astype(np.float32) * self.grid.scale)


def grid_of(range_: Range, precision: Precision) -> Grid:
    """The grid that holds a range. The quotients are those of float32 numbers, rounded to float32."""
    lo, hi = np.float32(range_.lo), np.float32(range_.hi)
    with np.errstate(over="ignore"):
        if precision == "int16":
            return Grid(_scale(np.float32(_HEADROOM) * np.maximum(-lo, hi), 32767), 0, -32767, 32767)
        scale = _scale(hi - lo, 255)
    return Grid(scale, int(np.clip(np.rint(-lo / scale), 0, 255)), 0, 255)


def _scale(width: Any, steps: int) -> np.float32:
    """Between the smallest number whose reciprocal is finite and the largest whose multiples by 65535 are."""
    scale: np.float32 = np.clip(width / np.float32(steps), np.float32(2.0**-126), np.float32(2.0**111))
    return scale


def range_of(x: npt.NDArray[Any]) -> Range:
    """The range of a float32 array and 0; what is not finite does not count. (-1, 1) where that leaves no number but 0."""
    finite = x[np.isfinite(x)]
    lo, hi = min(0.0, float(finite.min(initial=0.0))), max(0.0, float(finite.max(initial=0.0)))
    return Range(lo, hi) if lo < hi else Range(-1.0, 1.0)
