"""Operators that move elements: Pad, Concat, Flatten, Reshape, Squeeze, Unsqueeze, Transpose."""

from __future__ import annotations

import math

from opq.graph import Attribute
from opq.onnx_import.builder import Builder, NotLowered, Operation

_MAX_CONCAT = 255


def lower_pad(builder: Builder, operation: Operation) -> None:
    """Pads and value are attributes up to opset 10, inputs from 11 on; axes is an input from 18 on."""
    x = operation.inputs[0]
    mode = operation.text("mode", "constant")
    if builder.opset < 11:
        pads, value = operation.integers("pads"), operation.number("value", 0.0)
    else:
        pads = builder.integers(operation.input(1), "its padding")
        value = builder.scalar(operation.input(2), "its value", 0.0)
    if operation.input(3):
        pads = _pads_of_all_axes(pads, builder.integers(operation.input(3), "its list of axes"), builder.rank(x))
    if math.isnan(value):
        raise NotLowered("its value is NaN")
    attributes: dict[str, Attribute] = {"pads": pads, "mode": mode, "value": value if mode == "constant" else 0.0}
    builder.emit("Pad", operation.name, (x,), operation.outputs[0], attributes)


def _pads_of_all_axes(pads: tuple[int, ...], axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """(begin of each axis, then end of each axis) of some axes -> of all axes."""
    if len(pads) != 2 * len(axes) or any(not -rank <= axis < rank for axis in axes):
        raise NotLowered("axes and padding do not fit together")
    full = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        full[axis % rank] = pads[i]
        full[axis % rank + rank] = pads[i + len(axes)]
    return tuple(full)


def lower_concat(builder: Builder, operation: Operation) -> None:
    """At most as many inputs as the file format counts."""
    if len(operation.inputs) > _MAX_CONCAT:
        raise NotLowered(f"{len(operation.inputs)} inputs, at most {_MAX_CONCAT}")
    attributes: dict[str, Attribute] = {"axis": operation.integer("axis", 0)}
    builder.emit("Concat", operation.name, operation.inputs, operation.outputs[0], attributes)


def lower_flatten(builder: Builder, operation: Operation) -> None:
    """To a matrix."""
    attributes: dict[str, Attribute] = {"axis": operation.integer("axis", 1)}
    builder.emit("Flatten", operation.name, operation.inputs, operation.outputs[0], attributes)


def lower_reshape(builder: Builder, operation: Operation) -> None:
    """The target is constant by now wherever it can be."""
    shape = builder.integers(operation.inputs[1], "its target shape")
    attributes: dict[str, Attribute] = {"shape": shape, "allowzero": operation.integer("allowzero", 0)}
    builder.emit("Reshape", operation.name, operation.inputs[:1], operation.outputs[0], attributes)


def lower_squeeze(builder: Builder, operation: Operation) -> None:
    """Squeeze and Unsqueeze: axes are an attribute up to opset 12, an input from 13 on."""
    axes = operation.integers("axes")
    if operation.input(1):
        axes = builder.integers(operation.input(1), "its list of axes")
    builder.emit(operation.op, operation.name, operation.inputs[:1], operation.outputs[0], {"axes": axes})


def lower_transpose(builder: Builder, operation: Operation) -> None:
    """Without perm the axes are reversed."""
    perm = operation.integers("perm")
    if not operation.has("perm"):
        perm = tuple(reversed(range(builder.rank(operation.inputs[0]))))
    builder.emit("Transpose", operation.name, operation.inputs[:1], operation.outputs[0], {"perm": perm})
