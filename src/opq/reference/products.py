"""Conv, Linear and MatMul: y = scale * (sum of weight * x) + bias, all sums in float64.

A quantized weight is its integer codes; its step and channel scales multiply the finished sum, as in the core:

    y_c = scale_c * sum_k code_ck x_k + bias_c,      scale_c = float32(step * scale[c]) * scale input, rounded again
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from opq.graph import Node
from opq.reference.operands import Array, Operands, double, integer, optional_array
from opq.reference.tensor_section import Tensor
from opq.reference.windows import Windows, pad_for, place_windows, taps

Doubles = npt.NDArray[np.float64]


def weight_of(inputs: Operands) -> Tensor:
    """Input 1, quantized or not."""
    weight = inputs[1] if len(inputs) > 1 else None
    if weight is None:
        raise ValueError("the weight is missing")
    return weight


def factors(weight: Tensor) -> Doubles:
    """What the sum multiplies x by: the codes of a quantized weight, the values of a dense one."""
    return (weight if isinstance(weight, np.ndarray) else weight.codes).astype(np.float64)


def scale_and_bias(inputs: Operands, channels: int) -> tuple[Doubles, Doubles]:
    """Per output channel: the factor of the finished sum (float32 values) and the bias, each [channels]."""
    weight = weight_of(inputs)
    scale = np.ones(channels, np.float32)
    if not isinstance(weight, np.ndarray):
        scale = np.float32(weight.step) * (scale if weight.scale is None else weight.scale)
    given, bias = optional_array(inputs, 2), optional_array(inputs, 3)
    for vector in (scale, given, bias):
        if vector is not None and (vector.shape != (channels,) or vector.dtype != np.float32):
            raise ValueError(f"scale and bias must be float32 of shape ({channels},)")
    if given is not None:
        scale = scale * given
    return scale.astype(np.float64), np.zeros(channels) if bias is None else bias.astype(np.float64)


def conv_windows(node: Node, x: Array, weight: Doubles) -> Windows:
    """Checks the shapes x [N, C, spatial] and weight [M, C/group, kernel]."""
    group = integer(node, "group")
    if x.ndim != weight.ndim or x.ndim not in (3, 4):
        raise ValueError(f"input of shape {x.shape} and weight of shape {weight.shape}: 1 or 2 spatial axes needed")
    if x.shape[1] != weight.shape[1] * group or weight.shape[0] % group:
        raise ValueError(f"input of shape {x.shape}, weight of shape {weight.shape} and group {group} do not fit")
    return place_windows(node, x.shape[2:], weight.shape[2:])


def conv_sums(x: Doubles, weight: Doubles, windows: Windows, group: int) -> Doubles:
    """sums [N, M, output]: one matrix product per tap and group, weight [M/group, C/group] by pixels."""
    batch, outputs, depth = x.shape[0], weight.shape[0], weight.shape[1]
    pixels = math.prod(windows.output)
    matrices = np.moveaxis(weight.reshape(group, outputs // group, depth, -1), -1, 0).copy()
    sums = np.zeros((batch, group, outputs // group, pixels))
    for matrix, view in zip(matrices, taps(windows, pad_for(windows, x, 0.0)), strict=True):
        sums += matrix @ view.reshape(batch, group, depth, pixels)
    return sums.reshape(batch, outputs, *windows.output)


def conv(node: Node, inputs: Operands) -> Doubles:
    """x [N, C, spatial], weight [M, C/group, kernel], scale [M], bias [M] -> y [N, M, output]"""
    x, weight = double(inputs, 0), factors(weight_of(inputs))
    sums = conv_sums(x, weight, conv_windows(node, x, weight), integer(node, "group"))
    scale, bias = (per_channel(v, sums.ndim) for v in scale_and_bias(inputs, len(weight)))
    return scale * sums + bias


def per_channel(vector: Doubles, rank: int) -> Doubles:
    """[M] as [M, 1, ..]: broadcasts over [N, M, spatial]."""
    return vector.reshape(-1, *[1] * (rank - 2))


def check_linear(x: Array, weight: Doubles) -> None:
    """ValueError unless x [..., K] fits weight [M, K]."""
    if x.ndim < 1 or weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"input of shape {x.shape} does not fit a weight of shape {weight.shape}")


def linear(node: Node, inputs: Operands) -> Doubles:
    """x [..., K], weight [M, K], scale [M], bias [M] -> y [..., M]"""
    x, weight = double(inputs, 0), factors(weight_of(inputs))
    check_linear(x, weight)
    scale, bias = scale_and_bias(inputs, len(weight))
    return np.asarray(scale * (x @ weight.T) + bias)


def matmul(node: Node, inputs: Operands) -> Doubles:
    """NumPy's matmul: the last two axes multiply, the others broadcast."""
    return np.asarray(np.matmul(double(inputs, 0), double(inputs, 1)))
