"""Integer lists computed from shapes, as far as they are known: the targets of Reshape in exports with dynamic sizes.

The shape inference of `onnx` follows such computations from opset 15 on only. The usual ones are a few operators:
Shape -> Gather or Slice -> Unsqueeze -> Concat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnx import NodeProto, helper

from opq.graph import Dimension
from opq.onnx_import.reading import OnnxNetwork

_SAME_ELEMENTS = ("Identity", "Cast", "Unsqueeze", "Squeeze", "Reshape", "Flatten")

Value = tuple[Dimension, ...]


def known_values(network: OnnxNetwork) -> dict[str, Value]:
    """The elements, in C order, of every value of at most one axis that shapes and constants decide.

    An element is a number, the name of a dimension, or None. Needs network.shapes.
    """
    values: dict[str, Value] = {
        name: tuple(int(n) for n in array.ravel())
        for name, array in network.constants.items()
        if array.dtype.kind in "iu" and array.ndim <= 1 and array.size <= 64
    }
    for node in network.nodes:
        if node.domain in ("", "ai.onnx") and node.output:
            value = _value(network, node, values)
            if value is not None and len(value) <= 64:
                values[node.output[0]] = value
    return values


def _value(network: OnnxNetwork, node: NodeProto, values: Mapping[str, Value]) -> Value | None:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Shape":
        shape = network.shapes.get(node.input[0])
        return None if shape is None else shape[attributes.get("start", 0) : attributes.get("end", len(shape))]
    if not node.input or any(name not in values for name in node.input if name):
        return None
    data = values[node.input[0]]
    if node.op_type in _SAME_ELEMENTS:
        return data
    if node.op_type == "Concat":
        return tuple(size for name in node.input for size in values[name])
    if node.op_type == "Gather":
        indices = _numbers(values[node.input[1]])
        if indices is None or any(not -len(data) <= index < len(data) for index in indices):
            return None
        return tuple(data[index] for index in indices)
    if node.op_type == "Slice":
        return _slice(data, attributes, [values.get(name) for name in node.input[1:]])
    return None


def _slice(data: Value, attributes: Mapping[str, Any], bounds: Sequence[Value | None]) -> Value | None:
    """Starts, ends, axes and steps are attributes up to opset 9, inputs from 10 on; there is one axis here."""
    starts, ends, _, steps, *_ = (*bounds, None, None, None, None)
    start, end, step = starts or attributes.get("starts"), ends or attributes.get("ends"), steps or (1,)
    if start is None or end is None:
        return None
    numbers = _numbers((*start, *end, *step))
    if numbers is None or len(numbers) != 3 or numbers[2] < 1:
        return None
    return data[numbers[0] : numbers[1] : numbers[2]]


def _numbers(value: Value) -> list[int] | None:
    numbers = [size for size in value if isinstance(size, int)]
    return numbers if len(numbers) == len(value) else None
