"""Where the windows of a convolution or a pooling lie.

Along one spatial axis, window i of output position i covers the padded positions

    i * stride + t * dilation,  t = 0 .. kernel - 1,      padded position p = input position + begin.

A loop over taps t, each a strided view of the padded input, visits all windows at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from opq.graph import Node
from opq.reference.operands import integers, text


@dataclass(frozen=True)
class Windows:
    """One entry per spatial axis."""

    input: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]  # padding before the first element
    end: tuple[int, ...]  # padding after the last element
    output: tuple[int, ...]


def place_windows(node: Node, size: Sequence[int], kernel: Sequence[int], *, ceil_mode: bool = False) -> Windows:
    """Output sizes and padding as ONNX 19 defines them.

    A last window that `ceil_mode` adds is dropped when it would start in the padding after the input
    (or beyond). `auto_pad` overrides `pads` and `ceil_mode`.
    """
    strides, dilations, pads = integers(node, "strides"), integers(node, "dilations"), integers(node, "pads")
    auto_pad, axes = text(node, "auto_pad"), len(size)
    if not len(kernel) == len(strides) == len(dilations) == axes or len(pads) != 2 * axes:
        raise ValueError(f"kernel, strides, dilations and pads do not fit {axes} spatial axes")
    begin, end, output = list(pads[:axes]), list(pads[axes:]), []
    for axis, (n, k, stride, dilation) in enumerate(zip(size, kernel, strides, dilations, strict=True)):
        extent = (k - 1) * dilation + 1
        if auto_pad != "NOTSET":
            out = -(-n // stride)
            missing = max(0, (out - 1) * stride + extent - n)
            begin[axis] = missing // 2 if auto_pad == "SAME_UPPER" else missing - missing // 2
            end[axis] = missing - begin[axis]
        else:
            room = n + begin[axis] + end[axis] - extent
            out = room // stride + 1
            if ceil_mode and room % stride and out * stride < n + begin[axis]:
                out += 1
            if out < 1:
                raise ValueError(f"kernel extent {extent} exceeds the padded input {room + extent} on axis {axis}")
        output.append(out)
    return Windows(tuple(size), tuple(kernel), strides, dilations, tuple(begin), tuple(end), tuple(output))


def pad_for(windows: Windows, x: npt.NDArray[np.float64], value: float) -> npt.NDArray[np.float64]:
    """x [N, C, spatial] with `value` around it, so that every window lies inside."""
    needed = [
        (out - 1) * stride + (k - 1) * dilation + 1
        for out, stride, k, dilation in zip(windows.output, windows.strides, windows.kernel, windows.dilations, strict=True)
    ]
    margins = [
        (begin, max(0, length - begin - n)) for length, begin, n in zip(needed, windows.begin, windows.input, strict=True)
    ]
    if not any(map(any, margins)):
        return x
    return np.pad(x, [(0, 0), (0, 0), *margins], constant_values=value)


def taps(windows: Windows, padded: npt.NDArray[np.float64]) -> Iterator[npt.NDArray[np.float64]]:
    """For each tap in C order, the view [N, C, output] of the elements that it meets."""
    for offsets in itertools.product(*map(range, windows.kernel)):
        slices = [
            slice(offset * dilation, offset * dilation + max(0, (out - 1) * stride + 1), stride)
            for offset, dilation, out, stride in zip(offsets, windows.dilations, windows.output, windows.strides, strict=True)
        ]
        index = (slice(None), slice(None), *slices)
        yield padded[index]


def count_taps(windows: Windows, *, include_pad: bool) -> npt.NDArray[np.float64]:
    """How many taps of each window, [output], meet the input (with `include_pad`: the input or its padding)."""
    count: npt.NDArray[np.float64] = np.ones((), np.float64)
    for axis, n in enumerate(windows.input):
        starts = np.arange(windows.output[axis]) * windows.strides[axis] - windows.begin[axis]
        positions = starts[:, None] + np.arange(windows.kernel[axis]) * windows.dilations[axis]
        low, high = (-windows.begin[axis], n + windows.end[axis]) if include_pad else (0, n)
        inside = np.count_nonzero((positions >= low) & (positions < high), axis=1)
        count = count[..., None] * inside
    return count


def tap_shares(windows: Windows) -> npt.NDArray[np.float64]:
    """[kernel]: the share of the windows in which a tap meets the input and not its padding."""
    shares: npt.NDArray[np.float64] = np.ones((), np.float64)
    for axis, n in enumerate(windows.input):
        starts = np.arange(windows.output[axis]) * windows.strides[axis] - windows.begin[axis]
        positions = starts + np.arange(windows.kernel[axis])[:, None] * windows.dilations[axis]
        shares = shares[..., None] * np.mean((positions >= 0) & (positions < n), axis=1)
    return shares
