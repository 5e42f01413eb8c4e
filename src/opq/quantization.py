"""The shared integer codebook: codes from weights and back.

All channels of a layer share the codebook -K..K times one step; a channel has at most one scale, applied after the sum.
The rules that every implementation shares to the bit:

* magnitudes m = |w| / scale[channel], threshold and step are float32; m > threshold survives (with threshold 0 exactly the
  nonzeros do);
* code = sign(w) * clip(rint(m / step), 1, K), one float32 division, ties to even: a survivor never becomes zero and a
  pruned weight never comes back.

These are the nearest codes. `opq.rate_aware` moves some of them by a level where that saves more bits than it costs error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from opq.rate_aware import rate_aware
from opq.reference.half_precision import round_to

if TYPE_CHECKING:
    from opq import _core
    from opq.layer_allocation import LayerAllocation

MAX_LEVELS = 127  # codes are int8
BLOCK = 1 << 20  # weights that passes over a layer take at a time, so that their temporaries stay small

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
        return np.asarray(step * self.scale).reshape(_along(self.axis, self.codes.ndim))

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


def _along(axis: int, rank: int) -> tuple[int, ...]:
    return tuple(-1 if i == axis else 1 for i in range(rank))


def as_weights(name: str, weights: npt.ArrayLike) -> Float32:
    """`weights` as a float32 array, C-contiguous or not.

    Accepts float16, bfloat16, float32 and float64 of any memory order and byte order; raises ValueError, naming the layer, for
    other types, an empty array, and values that are NaN, infinite, or overflow float32.
    """
    array = np.asarray(weights)
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise ValueError(f"layer {name!r}: weights are {array.dtype}, expected a floating-point type")
    if array.size == 0:
        raise ValueError(f"layer {name!r}: shape {array.shape} has no weights")
    if array.ndim == 0:
        array = array.reshape(1)
    with np.errstate(over="ignore"):
        result = array.astype(np.float32, copy=False)
    # A finite sum of |w| in float64 rules out NaN and infinity without a temporary of booleans.
    if not np.isfinite(np.abs(result).sum(dtype=np.float64)):
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(result))[0])
        raise ValueError(f"layer {name!r}: weight {index} is {array[index]}, expected finite float32 values")
    return result


def channel_scales(weights: Float32, axis: int) -> Float32:
    """Each channel's scale: the root mean square of its weights, rounded to bfloat16; 1 for a channel of zeros.

    The codes are chosen for the rounded scales, so the rounding costs no accuracy, and two bytes in the file hold a scale.
    Only where all weights of every channel have one magnitude the scales keep all bits: one level codes such a layer exactly.
    """
    rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    rms = np.empty(len(rows), dtype=np.float32)
    uniform = True
    block = max(1, BLOCK // rows.shape[1])
    for i in range(0, len(rows), block):
        # Scaled by the channel's largest weight, squares neither overflow nor vanish.
        largest = np.maximum(rows[i : i + block].max(axis=1), -rows[i : i + block].min(axis=1))
        largest[largest == 0.0] = 1.0
        scaled = rows[i : i + block] / largest[:, None]
        energy = np.einsum("ij,ij->i", scaled, scaled, dtype=np.float64)
        rms[i : i + block] = np.sqrt(energy / rows.shape[1]) * largest
        uniform = uniform and bool(np.all((energy == rows.shape[1]) | (energy == 0.0)))
    rms[rms == 0.0] = 1.0
    # Where bfloat16 has all its bits, and below the numbers that it rounds to infinity.
    rms = np.clip(rms, np.float32(2.0**-126), np.float32(2.0**127))
    return rms if uniform else round_to(rms, "bfloat16")


def magnitudes(weights: Float32, scale: Float32 | None, axis: int) -> Float32:
    """|w|, divided by its channel's scale where there is one."""
    result = np.abs(weights)
    if scale is not None:
        result /= scale.reshape(_along(axis, weights.ndim))
    return np.asarray(result)


def encode(weights: Float32, magnitude: Float32, threshold: float, step: float, levels: int) -> npt.NDArray[np.int8]:
    """The codes of `weights`, whose `magnitudes` are given; see the rules at the top of this module."""
    keep = magnitude > np.float32(threshold) if threshold > 0.0 else weights != 0
    code = nearest_levels(magnitude, step, levels)
    code *= keep
    np.copysign(code, weights, out=code)
    return np.asarray(code, dtype=np.int8)


def nearest_levels(magnitude: Float32, step: float, levels: int) -> Float32:
    """clip(rint(magnitude / step), 1, levels) as float32 integers: the codes of survivors without their signs."""
    code = magnitude / np.float32(step)
    np.rint(code, out=code)
    np.clip(code, 1.0, np.float32(levels), out=code)
    return np.asarray(code)


def quantize(weights: npt.ArrayLike, layer: LayerAllocation, *, rounding: Rounding = "nearest") -> QuantizedTensor:
    """Prune and quantize one layer as `opq.allocate` decided.

    weights   the array that was given to `allocate` under the layer's name
    rounding  "nearest", or "rate": codes with the least squared error + layer.multiplier * bits, each at most one level away
              from the nearest. They are the nearest ones where the multiplier is 0, as it is unless a size was asked for.

    Raises ValueError for another shape or type, and for an unknown rounding.
    """
    if rounding not in get_args(Rounding):
        raise ValueError(f'rounding {rounding!r} is unknown: expected "nearest" or "rate"')
    array = as_weights(layer.name, weights)
    if array.shape != layer.shape:
        raise ValueError(f"layer {layer.name!r}: weights have shape {array.shape}, the allocation was made for {layer.shape}")
    scale = channel_scales(array, layer.axis) if layer.channel_scale == "rms" else None
    m = magnitudes(array, scale, layer.axis)
    codes = encode(array, m, layer.threshold, layer.step, layer.levels)
    if rounding == "rate" and layer.multiplier > 0.0:
        codes = rate_aware(codes, array, m, layer.step, layer.levels, layer.multiplier)
    return QuantizedTensor(codes, layer.step, layer.levels, scale, None if scale is None else layer.axis)
