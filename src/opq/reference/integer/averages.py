"""Means of activations that are held as integers: float(sum of (q - zero)) * (scale / float(count)), in float32.

The sum is exact. Of AveragePool every window has its count; padding, which is 0, adds nothing to the sum.
"""

from __future__ import annotations

import numpy as np

from opq.graph import Node
from opq.reference.integer.quantized import Float32, Quantized
from opq.reference.operands import integer, integers, normalize_axes
from opq.reference.pooling import pool_windows, window_sums
from opq.reference.windows import count_taps


def is_average(node: Node, x: Quantized) -> bool:
    """Whether `average` computes the node: AveragePool, and ReduceMean over the spatial axes of an image."""
    if node.op == "ReduceMean":
        return len(x.shape) > 2 and set(normalize_axes(integers(node, "axes"), len(x.shape))) == set(range(2, len(x.shape)))
    return node.op == "AveragePool"


def average(node: Node, x: Quantized) -> Float32:
    """The means, float32; of a window without elements 0 / 0, as in float32."""
    centred = x.centred.astype(np.float64)  # sums below 2^53 are exact
    if node.op == "AveragePool":
        windows = pool_windows(node, centred)
        sums = window_sums(windows, centred)
        count = count_taps(windows, include_pad=integer(node, "count_include_pad") == 1)
    else:
        axes = tuple(range(2, centred.ndim))
        sums = centred.sum(axis=axes, keepdims=integer(node, "keepdims") == 1)
        count = np.asarray(float(np.prod(centred.shape[2:])))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums.astype(np.float32) * (x.grid.scale / count.astype(np.float32)))
