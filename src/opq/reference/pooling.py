"""MaxPool and AveragePool of x [N, C, spatial] with 1 or 2 spatial axes, as ONNX 19 defines them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opq.graph import Node
from opq.reference.operands import Array, Operands, double, integer, integers
from opq.reference.windows import Windows, count_taps, pad_for, place_windows, taps


def pool_windows(node: Node, x: Array) -> Windows:
    """Where the windows over x [N, C, spatial] lie."""
    if x.ndim not in (3, 4):
        raise ValueError(f"input of shape {x.shape}: 1 or 2 spatial axes needed")
    return place_windows(node, x.shape[2:], integers(node, "kernel_shape"), ceil_mode=integer(node, "ceil_mode") == 1)


def max_pool(node: Node, inputs: Operands) -> npt.NDArray[np.float64]:
    """Padding never wins: it counts as -inf."""
    x = double(inputs, 0)
    windows = pool_windows(node, x)
    y = np.full((*x.shape[:2], *windows.output), -np.inf)
    for view in taps(windows, pad_for(windows, x, -np.inf)):
        np.maximum(y, view, out=y)
    return y


def window_sums(windows: Windows, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The sum of each window's elements, [N, C, output]."""
    y = np.zeros((*x.shape[:2], *windows.output))
    for view in taps(windows, pad_for(windows, x, 0.0)):
        y += view
    return y


def average_pool(node: Node, inputs: Operands) -> npt.NDArray[np.float64]:
    """Divides by the number of elements in the window; with count_include_pad, `pads` are elements too.

    What ceil_mode makes a window cover beyond the padding never counts. A window without any element gives 0 / 0.
    """
    x = double(inputs, 0)
    windows = pool_windows(node, x)
    return window_sums(windows, x) / count_taps(windows, include_pad=integer(node, "count_include_pad") == 1)
