"""The last steps of lowering: names of the graph's outputs, dead code, element types of the tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from opq.errors import UnsupportedError
from opq.graph import Node, ValueInfo
from opq.onnx_import.builder import TRANSPOSED, Builder
from opq.onnx_import.tensors import Array, is_float, to_float32


def bind_outputs(builder: Builder, outputs: Sequence[ValueInfo]) -> None:
    """Gives graph outputs that are another name of a value a value of their own.

    The node that makes the value makes the output instead where that is possible; a graph input, a tensor, or a
    value that is another output already is copied by a Reshape to its own shape.
    """
    names = {value.name for value in outputs}
    makers = {node.outputs[0]: i for i, node in enumerate(builder.nodes)}
    renamed: dict[str, str] = {}
    for output in outputs:
        value = builder.resolve(output.name)
        if value in makers and value not in names and value not in renamed:
            renamed[value] = output.name
        elif value != output.name:
            shape = (0,) * len(output.shape)
            builder.emit("Reshape", f"{output.name}.copy", (value,), output.name, {"shape": shape, "allowzero": 0})
    builder.nodes = [
        replace(
            node,
            inputs=tuple(renamed.get(name, name) for name in node.inputs),
            outputs=tuple(renamed.get(name, name) for name in node.outputs),
        )
        for node in builder.nodes
    ]


def live_part(builder: Builder, outputs: Sequence[ValueInfo]) -> tuple[tuple[Node, ...], dict[str, Array]]:
    """The nodes that the outputs need, and the tensors that those nodes need.

    A transposed weight takes the name of the original where the original is not needed.
    """
    needed = {value.name for value in outputs}
    live: list[Node] = []
    for node in reversed(builder.nodes):
        if needed.intersection(node.outputs):
            live.append(node)
            needed.update(node.inputs)

    used = [name for name in builder.constants if name in needed]
    names: dict[str, str] = {}
    for name in used:
        original = name.removesuffix(TRANSPOSED)
        if original != name and original in builder.constants and original not in needed:
            names[name] = original
    tensors = {names.get(name, name): _stored(name, builder.constants[name]) for name in used}
    nodes = [replace(node, inputs=tuple(names.get(name, name) for name in node.inputs)) for node in reversed(live)]
    return tuple(nodes), tensors


def _stored(name: str, array: Array) -> Array:
    """The array in C order and in one of the element types of docs/format.md."""
    if is_float(array):
        array = to_float32(array)
    if array.dtype not in (np.float32, np.int32, np.int64):
        raise UnsupportedError(f"tensor {name!r} of type {array.dtype}")
    return np.asarray(array, order="C")
