"""Operators that sum over neighbours: ReduceMean, Softmax, LRN."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opq.graph import Node
from opq.reference.operands import Array, Operands, double, integer, integers, normalize_axes, real

Doubles = npt.NDArray[np.float64]


def reduce_mean(node: Node, inputs: Operands) -> Doubles:
    """The mean over `axes`; over no elements at all it is 0 / 0."""
    x = double(inputs, 0)
    axes = normalize_axes(integers(node, "axes"), x.ndim)
    count = np.prod([x.shape[axis] for axis in axes])
    return np.asarray(x.sum(axis=axes, keepdims=integer(node, "keepdims") == 1) / count)


def softmax(node: Node, inputs: Operands) -> Doubles:
    """exp(x - max) / sum of exp(x - max) along `axis`: the largest exponent is 0, so nothing overflows."""
    x = double(inputs, 0)
    (axis,) = normalize_axes([integer(node, "axis")], x.ndim)
    if x.size == 0:
        return x
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def square_sums(x: Doubles, size: int) -> Doubles:
    """For each channel c of x [N, C, ...], the sum of x^2 over channels c - (size - 1) // 2 to c + size // 2."""
    if x.ndim < 2:
        raise ValueError(f"input of shape {x.shape}: a channel axis is needed")
    channels = x.shape[1]
    sums = np.zeros_like(x)
    for c in range(channels):
        window = x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1]
        sums[:, c] = np.square(window).sum(axis=1)
    return sums


def lrn(node: Node, inputs: Operands) -> Doubles:
    """x / (bias + alpha / size * sum of x^2 over `size` neighbouring channels)^beta"""
    x, size = double(inputs, 0), integer(node, "size")
    base: Array = real(node, "bias") + real(node, "alpha") / size * square_sums(x, size)
    return np.asarray(x / base ** real(node, "beta"))
