"""Conv and Linear on integer activations: exact sums, and what happens to them.

    S = sum of code * (q - zero) over the taps, padding being q = zero

A layer takes part if its weight is quantized and 255 * (sum of |code|) of every channel is below 2^30: then 32-bit sums hold
whatever 8-bit activations are. Its finish is one of two:

* in fixed point (fixed_point.py), where input, output and residual are held on grids of 8 bits that are known before, the
  activation is a clamp, and scale and bias are finite;
* in float32 elsewhere: v = fma(float(S), scale * scale_x, bias), v + residual, the activation, and the nearest q where the
  output is held. float(S) is rounded to nearest even.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from opq.graph import Node
from opq.quantization import QuantizedTensor
from opq.reference.integer.fixed_point import Integers, requantization, requantize
from opq.reference.integer.quantized import Float32, Grid, Quantized
from opq.reference.operands import Operands, integer, real
from opq.reference.products import check_linear, conv_sums, conv_windows, scale_and_bias

_LARGEST_SUM = 2**30


def is_integer_layer(weight: object) -> bool:
    """Whether the product with this weight of a Conv or Linear can be done on integers."""
    if not isinstance(weight, QuantizedTensor):
        return False
    positive, negative = code_sums(weight)
    return bool(np.all(255 * (positive + negative) < _LARGEST_SUM))


def code_sums(weight: QuantizedTensor) -> tuple[Integers, Integers]:
    """By output channel: the sums of the positive codes and of the negative ones, without their sign."""
    rows = weight.codes.reshape(len(weight.codes), -1)
    positive = np.maximum(rows, 0).sum(axis=1, dtype=np.int64)
    return positive, positive - rows.sum(axis=1, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Sums:
    """Exact sums of a layer, [N, M, ...] of a Conv or [..., M] of a Linear, and what they mean.

    values       S, int64
    scale, bias  [M], float32 values: what S * scale_x is multiplied by, and what is added
    code_sums    of the weight
    grids        of the input: one for all images where it is held, else one for each of them
    by_image     which of the two
    axis         of the channels
    """

    values: Integers
    scale: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    code_sums: tuple[Integers, Integers]
    grids: list[Grid]
    by_image: bool
    axis: int

    @property
    def is_finite(self) -> bool:
        """Scale and bias are numbers."""
        return bool(np.isfinite(self.scale).all() and np.isfinite(self.bias).all())

    def floats(self) -> Float32:
        """fma(float(S), float32(scale * scale_x), bias) in float32."""
        shape = [1] * self.values.ndim
        shape[self.axis] = -1
        scale_x = np.array([grid.scale for grid in self.grids], np.float32)
        factor = self.scale.astype(np.float32).reshape(shape) * scale_x.reshape(-1, *[1] * (self.values.ndim - 1))
        bias = self.bias.astype(np.float32).reshape(shape) + np.float32(0.0)  # a bias of -0 is 0: a sum of 0 has no sign
        return fma(self.values.astype(np.float32), factor, bias)

    def fixed(self, y: Grid, residual: Quantized | None, clamp: tuple[int, int]) -> Quantized:
        """On the grid of the output."""
        [x] = self.grids
        rule = requantization(self.scale, self.bias, self.code_sums, x, y, None if residual is None else residual.grid)
        shape = [1] * self.values.ndim
        shape[self.axis] = -1
        positive, negative = self.code_sums
        a = self.values + (x.zero * (positive - negative)).reshape(shape)
        r = None if residual is None else residual.centred.astype(np.int64)
        if self.axis == 1:
            return Quantized(requantize(a, rule, r, *clamp), y)
        rows = (-1, a.shape[-1])
        q = requantize(a.reshape(rows), rule, None if r is None else r.reshape(rows), *clamp)
        return Quantized(q.reshape(a.shape), y)


def sums(node: Node, x: Quantized | list[Quantized], inputs: Operands) -> Sums:
    """The sums of a layer over an input that is held, or over images that each have a grid. inputs: the node's others."""
    weight = inputs[1]
    assert isinstance(weight, QuantizedTensor)
    codes = weight.codes.astype(np.float64)
    scale, bias = scale_and_bias(inputs, len(codes))
    images = x if isinstance(x, list) else [x]
    centred = np.concatenate([image.centred for image in images]).astype(np.float64)
    if node.op == "Conv":
        values = conv_sums(centred, codes, conv_windows(node, centred, codes), integer(node, "group"))
    else:
        check_linear(centred, codes)
        values = centred @ codes.T  # below 2^53: exact in float64, in any order
    axis = 1 if node.op == "Conv" else values.ndim - 1
    grids = [image.grid for image in images]
    return Sums(values.astype(np.int64), scale, bias, code_sums(weight), grids, isinstance(x, list), axis)


def fma(a: Float32, b: Float32, c: Float32) -> Float32:
    """a * b + c, rounded to float32 once."""
    with np.errstate(over="ignore", invalid="ignore"):
        product = a.astype(np.float64) * b  # exact: 48 bits
        total = np.asarray(product + c)
        back = total - product
        error = (product - (total - back)) + (c - back)  # of the sum, exactly (Knuth's two-sum)
        # Rounded to odd instead of to even, a sum of 53 bits rounds to 24 bits as the exact sum does (Boldo and Melquiond,
        # "Emulation of FMA and correctly rounded sums", 2008).
        even = (total.view(np.int64) & 1) == 0
        odd = np.nextafter(total, np.where(error > 0.0, np.inf, -np.inf))
        return np.where((error != 0.0) & even & np.isfinite(total), odd, total).astype(np.float32)


def clamp_of(activation: Node | None, y: Grid) -> tuple[int, int] | None:
    """What an activation leaves of a grid: the least and the largest q. None where it is no clamp."""
    if activation is None:
        return y.least, y.most
    if activation.op == "Relu":
        lo, hi = 0.0, np.inf
    elif activation.op == "Clip":
        lo, hi = real(activation, "min"), real(activation, "max")
    else:
        return None
    least, most = y.quantize(np.array([lo, hi], np.float32))
    return int(least), int(most)
