"""The shared integer codebook: codes from weights and back.

All channels of a layer share the codebook -K..K times one step; a channel has at most one scale, applied after the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from opq import _core

MAX_LEVELS = 127  # codes are int8

ChannelScale = Literal["rms", "none"]
Rounding = Literal["nearest", "rate"]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """A pruned and quantized tensor: `value = code * float32(step * scale[channel])`.

    codes   int8, the tensor's shape, values -levels..levels, 0 where pruned
    step    the distance of two codewords; a float32 value
    levels  K, the number of codewords per sign, 1..127
    scale   float32 [channels], or None: 1 for the whole tensor
    axis    the channel axis that `scale` runs along, or None where scale is None
    """

    codes: npt.NDArray[np.int8]
    step: float
    levels: int
    scale: Float32 | None = None
    axis: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The weights' shape."""
        return self.codes.shape

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.codes.size

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        return 1.0 - np.count_nonzero(self.codes) / self.codes.size

    def channel_steps(self) -> Float32:
        """float32(step * scale) per channel, shaped to broadcast against the codes; one element without channel scales."""
        step = np.float32(self.step)
        if self.scale is None or self.axis is None:
            return np.full((1,) * self.codes.ndim, step, dtype=np.float32)
        return np.asarray(step * self.scale).reshape(along(self.axis, self.codes.ndim))

    def dequantize(self) -> Float32:
        """The weights as float32 of the same shape."""
        return self.codes.astype(np.float32) * self.channel_steps()

    @cached_property
    def packed_vector(self) -> _core.Matrix:
        """The tensor packed, once, for products with a single column."""
        from opq.matrix import pack

        return pack(self, single_column=True)

    @cached_property
    def packed_matrix(self) -> _core.Matrix:
        """The tensor packed, once, for products with several columns."""
        from opq.matrix import pack

        return pack(self, single_column=False)

    def matmul(self, x: npt.ArrayLike, threads: int = 1) -> Float32:
        """The sparse codebook product W @ x, computed from the codes by the compiled core.

        W is the tensor as a matrix [M, K]: the channel axis (axis 0 without channel scales) first, all others flattened in
        C order. x is (K,) or (K, n), converted to float32; the result is float32 (M,) or (M, n). Each element is one
        ascending chain of K fused multiply-adds over code * x, then one multiplication by the channel's step.
        Raises ValueError when the shapes do not fit.
        """
        from opq.matrix import matmul

        return matmul(self, x, threads)


def along(axis: int, rank: int) -> tuple[int, ...]:
    """The shape in which a vector along `axis` broadcasts against an array of this rank."""
    return tuple(-1 if i == axis else 1 for i in range(rank))
