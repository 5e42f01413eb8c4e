"""From exact sums to 8-bit activations in integers alone: the one rule of requantization of `precision="int8"`.

A channel's finished sum is A = sum of code * q over all taps, where padding is q = zero. With M, the scale of the sums over the
scale of the outputs, and B, the bias in steps of the output's grid, the output is near M A + B + residual. In integers:

    a = saturate(A >> shift)                          rounded half up; A << -shift where shift is negative
    t = (a * multiplier + 2^14) >> 15                 what pmulhrsw and sqrdmulh do
    u = saturate(t + bias)
    u = saturate(u + ((((r - zero_r) << 7) * multiplier_r + 2^14) >> 15))      where a residual r is added
    q = clamp(u >> fraction, least, most)

`saturate` is to 16 bits, >> rounds down but for the shift of A. `fraction` is the number of bits that t and u have behind the
point; `bias` holds the half that makes the last shift round half up. For most channels the sums fit 16 bits and shift is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from opq.reference.integer.quantized import Grid

Integers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

_LARGEST = 32767
_MOST_SHIFT, _LEAST_SHIFT = 31, -14
_MOST_FRACTION = 7  # 255.5 * 2^7 fits 16 bits


@dataclass(frozen=True, eq=False)
class Requantization:
    """The numbers of the rule, [channels] each."""

    shift: Integers
    multiplier: Integers
    bias: Integers
    residual_multiplier: Integers
    fraction: Integers


def requantization(
    scale: Doubles, bias: Doubles, code_sums: tuple[Integers, Integers], x: Grid, y: Grid, residual: Grid | None
) -> Requantization:
    """The rule of a layer.

    scale, bias  [channels], float32 values: what a sum of codes * x is multiplied by, and what is added
    code_sums    [channels] each: the sums of the positive codes and of the negative ones, without their sign
    x, y         grids of input and output; residual: of what is added
    """
    positive, negative = code_sums
    m = scale * (float(x.scale) / float(y.scale))
    b = bias / float(y.scale) + y.zero - (x.zero * (positive - negative)) * m
    ratio = 0.0 if residual is None else float(residual.scale) / float(y.scale)
    # Sums beyond these give outputs beyond the ends of the grid whatever the residual is: they may saturate.
    reach = np.abs(b) + 256.0 * (1.0 + ratio)
    sums = 255.0 * np.maximum(positive, negative)
    magnitude = np.abs(m)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        largest = np.minimum(sums, np.where(magnitude > 0.0, reach / magnitude, np.inf))
    shift = np.zeros(m.shape, np.int64)
    for _ in range(_MOST_SHIFT):
        shift += largest > _LARGEST * np.exp2(shift)
    for _ in range(-_LEAST_SHIFT):
        shift -= (shift <= 0) & (np.rint(magnitude * np.exp2(shift + 15)) > _LARGEST) & (shift > _LEAST_SHIFT)
    fraction = np.zeros(m.shape, np.int64)
    for f in range(1, _MOST_FRACTION + 1):
        fits = np.rint(magnitude * np.exp2(shift + 15 + f)) <= _LARGEST
        fits &= np.abs(np.rint(b * 2.0**f)) + 2.0 ** (f - 1) <= _LARGEST
        fits &= np.rint(ratio * 2.0 ** (f + 8)) <= _LARGEST
        fraction += fits & (fraction == f - 1)
    half = np.where(fraction > 0, np.exp2(fraction - 1), 0.0)
    return Requantization(
        shift,
        _rounded(m * np.exp2(shift + 15 + fraction)),
        _rounded(b * np.exp2(fraction) + half),
        _rounded(ratio * np.exp2(fraction + 8)),
        fraction,
    )


def _rounded(x: Doubles) -> Integers:
    return np.clip(np.rint(x), -_LARGEST, _LARGEST).astype(np.int64)


def requantize(sums: Integers, rule: Requantization, residual: Integers | None, least: int, most: int) -> npt.NDArray[np.int32]:
    """q of exact sums [N, channels, ...]; residual: r - zero_r of the same shape; least and most: the ends of the clamp."""
    shift, multiplier, bias, residual_multiplier, fraction = (
        numbers.reshape(1, -1, *[1] * (sums.ndim - 2))
        for numbers in (rule.shift, rule.multiplier, rule.bias, rule.residual_multiplier, rule.fraction)
    )
    right, left = np.maximum(shift, 0), np.maximum(-shift, 0)
    half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
    a = _saturated(((sums + half) >> right) << left)
    u = _saturated(_high_product(a, multiplier) + bias)
    if residual is not None:
        u = _saturated(u + _high_product(residual << 7, residual_multiplier))
    return np.asarray(np.clip(u >> fraction, least, most).astype(np.int32))


def _high_product(a: Integers, b: Integers) -> Integers:
    return (a * b + (1 << 14)) >> 15


def _saturated(x: Integers) -> Integers:
    return np.clip(x, -_LARGEST - 1, _LARGEST)
