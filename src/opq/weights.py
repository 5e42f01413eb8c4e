"""A layer's weights: checked, scaled by channel, and as the core's passes over them want them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opq import _core
from opq.quantization import Float32
from opq.reference.half_precision import round_to
from opq.threads import checked_threads


class Rows(NamedTuple):
    """Weights [rows, length] in C order and scale [channels]; row r belongs to channel r % channels (`reference.passes`)."""

    weights: Float32
    scale: Float32


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
    if not _core.all_finite(_in_c_order(result.ravel(order="K")), checked_threads(None)):
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(result))[0])
        raise ValueError(f"layer {name!r}: weight {index} is {array[index]}, expected finite float32 values")
    return result


def channel_scales(weights: Float32, axis: int) -> Float32:
    """Each channel's scale: the root mean square of its weights, rounded to bfloat16; 1 for a channel of zeros.

    The codes are chosen for the rounded scales, so the rounding costs no accuracy, and two bytes in the file hold a scale.
    Only where all weights of every channel have one magnitude the scales keep all bits: one level codes such a layer exactly.
    """
    rows = _in_c_order(np.moveaxis(weights, axis, 0)).reshape(weights.shape[axis], -1)
    energy, uniform = _core.channel_energies(rows, checked_threads(None))  # float64 holds all squares of float32 numbers
    rms = np.sqrt(energy / rows.shape[1])
    rms[energy == 0.0] = 1.0
    # Where bfloat16 has all its bits, and below the numbers that it rounds to infinity.
    scales = np.clip(rms, 2.0**-126, 2.0**127).astype(np.float32)
    return scales if uniform else round_to(scales, "bfloat16")


def as_rows(weights: Float32, scale: Float32 | None, axis: int | None) -> Rows:
    """Weights of any shape and memory order with one scale per index along `axis`, or without scales."""
    if scale is None or axis is None:
        return Rows(_in_c_order(weights).reshape(1, -1), np.ones(1, dtype=np.float32))
    return Rows(_in_c_order(weights).reshape(-1, math.prod(weights.shape[axis + 1 :])), _in_c_order(scale))


def _in_c_order(array: Float32) -> Float32:
    """The array, or a copy where it has gaps, another order or addresses that its type does not allow."""
    return np.require(array, np.float32, ["C_CONTIGUOUS", "ALIGNED"])
