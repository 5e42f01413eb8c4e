"""Operators that move elements without changing them. They take any element type."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from opq.graph import Node
from opq.reference.operands import Array, Operands, array, integer, integers, normalize_axes, real, text


def concat(node: Node, inputs: Operands) -> Array:
    """The inputs one after another along `axis`; their other sizes agree."""
    parts = [array(inputs, i) for i in range(len(inputs))]
    if len({part.dtype for part in parts}) != 1 or len({part.ndim for part in parts}) != 1:
        raise ValueError("the inputs differ in type or rank")
    (axis,) = normalize_axes([integer(node, "axis")], parts[0].ndim)
    return np.concatenate(parts, axis=axis)


def flatten(node: Node, inputs: Operands) -> Array:
    """[axes before `axis` together, the others together]"""
    x, axis = array(inputs, 0), integer(node, "axis")
    if not -x.ndim <= axis <= x.ndim:
        raise ValueError(f"axis {axis} is out of range for rank {x.ndim}")
    axis += x.ndim if axis < 0 else 0
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def resolve_shape(wanted: Sequence[int], shape: Sequence[int], *, allowzero: bool) -> tuple[int, ...]:
    """The shape that Reshape gives to an input of `shape`: 0 copies (unless `allowzero`), -1 is inferred."""
    result = list(wanted)
    for axis, size in enumerate(result):
        if size == 0 and not allowzero:
            if axis >= len(shape):
                raise ValueError(f"shape {tuple(wanted)} copies axis {axis} of an input of rank {len(shape)}")
            result[axis] = shape[axis]
    elements = math.prod(shape)
    if -1 in wanted:
        known = math.prod(size for size in result if size != -1)
        if known == 0 or elements % known:
            raise ValueError(f"{elements} elements do not fit shape {tuple(wanted)}")
        result[result.index(-1)] = elements // known
    if math.prod(result) != elements or min(result, default=0) < 0:
        raise ValueError(f"{elements} elements do not fit shape {tuple(wanted)}")
    return tuple(result)


def reshape(node: Node, inputs: Operands) -> Array:
    """The elements in C order under another shape; see `resolve_shape`."""
    x = array(inputs, 0)
    shape = resolve_shape(integers(node, "shape"), x.shape, allowzero=integer(node, "allowzero") == 1)
    return x.reshape(shape)


def squeeze(node: Node, inputs: Operands) -> Array:
    """Without `axes`, which have size 1; without every axis of size 1 when there are none."""
    x = array(inputs, 0)
    axes = normalize_axes(integers(node, "axes"), x.ndim) or tuple(i for i, n in enumerate(x.shape) if n == 1)
    if any(x.shape[axis] != 1 for axis in axes):
        raise ValueError(f"axes {axes} of an input of shape {x.shape} are not all of size 1")
    return x.squeeze(axes)


def unsqueeze(node: Node, inputs: Operands) -> Array:
    """`axes` are those of the result."""
    x, axes = array(inputs, 0), integers(node, "axes")
    return np.expand_dims(x, normalize_axes(axes, x.ndim + len(axes)))


def transpose(node: Node, inputs: Operands) -> Array:
    """Axis i of the result is axis perm[i] of the input."""
    x, perm = array(inputs, 0), integers(node, "perm")
    if sorted(perm) != list(range(x.ndim)):
        raise ValueError(f"perm {perm} is no permutation of the axes of an input of shape {x.shape}")
    return np.transpose(x, perm)


def _source_indices(mode: str, n: int, begin: int, end: int) -> Array:
    """For each position of a padded axis, the element that it copies.

    edge:    a a a b c d d d        reflect: c b a b c d c b (period 2 n - 2)        wrap: c d a b c d a b (period n)
    """
    positions = np.arange(-begin, n + end)
    if mode == "edge":
        return positions.clip(0, n - 1)
    if mode == "wrap":
        return positions % n
    period = max(1, 2 * n - 2)
    return n - 1 - abs(positions % period - (n - 1)) if n > 1 else np.zeros_like(positions)


def fill_value(node: Node, dtype: np.dtype[np.generic]) -> float | int:
    """Pad's `value` in the input's type; an integer tensor needs a whole number in its range."""
    value = real(node, "value")
    if dtype == np.float32:
        return value
    limits = np.iinfo(dtype.name)
    if not (value.is_integer() and limits.min <= int(value) <= limits.max):
        raise ValueError(f"value {value} is no {dtype}")
    return int(value)


def _pad_constant(x: Array, margins: Sequence[tuple[int, int]], value: float | int) -> Array:
    """y[i] = x[i - begin] where there is one, else `value`, for i in [0, begin + n + end) along each axis."""
    shape = [begin + n + end for n, (begin, end) in zip(x.shape, margins, strict=True)]
    if any(n + min(begin, 0) + min(end, 0) < 0 for n, (begin, end) in zip(x.shape, margins, strict=True)):
        raise ValueError(f"pads {tuple(margins)} remove more than an input of shape {x.shape} has")
    y = np.full(shape, value, x.dtype)
    source, target = [], []
    for n, size, (begin, _) in zip(x.shape, shape, margins, strict=True):
        first, last = max(0, begin), min(size, begin + n)
        target.append(slice(first, last))
        source.append(slice(first - begin, last - begin))
    y[tuple(target)] = x[tuple(source)]
    return y


def pad(node: Node, inputs: Operands) -> Array:
    """Modes other than constant repeat their pattern as often as the pads need."""
    x, pads, mode = array(inputs, 0), integers(node, "pads"), text(node, "mode")
    if len(pads) != 2 * x.ndim:
        raise ValueError(f"{len(pads)} pads do not fit an input of shape {x.shape}")
    margins = list(zip(pads[: x.ndim], pads[x.ndim :], strict=True))
    if mode == "constant":
        return _pad_constant(x, margins, fill_value(node, x.dtype))
    if min(pads, default=0) < 0:
        raise ValueError(f"negative pads {pads} in mode {mode}")
    for axis, (begin, end) in enumerate(margins):
        if begin or end:
            if x.shape[axis] == 0:
                raise ValueError(f"axis {axis} is empty: nothing to pad with in mode {mode}")
            x = x.take(_source_indices(mode, x.shape[axis], begin, end), axis=axis)
    return x
