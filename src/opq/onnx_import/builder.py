"""What lowering works with: one ONNX node with typed access to its attributes, and the IR nodes made so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto

from opq.graph import Attribute, Dimension, Node
from opq.moments import Moments
from opq.onnx_import.reading import OnnxNetwork, node_name
from opq.onnx_import.tensors import Array, to_float32

TRANSPOSED = ".transposed"  # ends the name of a transposed weight


class NotLowered(Exception):
    """Why a node cannot be expressed by the operators of docs/format.md; collected, then reported together."""


class Operation:
    """An ONNX node: `x` in `operation.inputs` is "" where an optional input is absent."""

    def __init__(self, node: NodeProto, inputs: Sequence[str]) -> None:
        self.op = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        self.name = node_name(node)
        self.inputs = tuple(inputs)
        self.outputs = tuple(node.output)
        self._attributes: dict[str, Any] = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}

    def has(self, name: str) -> bool:
        """Whether an attribute is given."""
        return name in self._attributes

    def input(self, index: int) -> str:
        """Name of an input, "" where it is absent."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def integer(self, name: str, default: int) -> int:
        """An attribute that is an integer."""
        return int(self._attributes.get(name, default))

    def number(self, name: str, default: float) -> float:
        """An attribute that is a float, rounded to float32 as in the file."""
        return float(np.float32(self._attributes.get(name, default)))

    def text(self, name: str, default: str) -> str:
        """An attribute that is a string."""
        value = self._attributes.get(name, default)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def integers(self, name: str, default: Sequence[int] = ()) -> tuple[int, ...]:
        """An attribute that is a list of integers."""
        return tuple(int(value) for value in self._attributes.get(name, default))

    def check_single_output(self) -> None:
        """Further outputs (indices of MaxPool, masks of Dropout, statistics of BatchNormalization) must be unread."""
        if any(self.outputs[1:]):
            raise NotLowered("more than one output")


class Builder:
    """The graph under construction."""

    def __init__(self, network: OnnxNetwork) -> None:
        self.opset = network.opset
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = dict(network.constants)
        self.shapes: dict[str, tuple[Dimension, ...]] = dict(network.shapes)
        self.types: dict[str, int] = dict(network.types)
        self.moments: dict[str, Moments] = {}  # of the values that a BatchNorm makes
        self._aliases: dict[str, str] = {}
        self._names = {*self.constants, *self.shapes, *self.types, *(v.name for v in network.inputs)}
        for node in network.nodes:
            self._names.update(node.output)

    def resolve(self, name: str) -> str:
        """The value that `name` stands for once Identity nodes are gone."""
        return self._aliases.get(name, name)

    def alias(self, name: str, value: str) -> None:
        """From now on `name` is another name of `value`."""
        self._aliases[name] = value

    def fresh(self, name: str) -> str:
        """`name`, with underscores behind it where it is taken."""
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name

    def tensor(self, name: str, array: Array) -> str:
        """A new constant; returns its name."""
        name = self.fresh(name)
        self.constants[name] = array
        self.shapes[name] = array.shape
        return name

    def transposed(self, name: str) -> str:
        """Name of the transpose of a constant matrix."""
        transposed = f"{name}{TRANSPOSED}"
        if transposed not in self.constants:
            self.constants[transposed] = np.ascontiguousarray(self.constants[name].T)
            self._names.add(transposed)
        return transposed

    def shape(self, name: str) -> tuple[Dimension, ...]:
        """Inferred shape of a value whose rank must be known."""
        shape = self.shapes.get(name)
        if shape is None:
            raise NotLowered("the rank of its input is not known")
        return shape

    def rank(self, name: str) -> int:
        """Number of axes of a value."""
        return len(self.shape(name))

    def constant(self, name: str, what: str) -> Array:
        """The value of an input that must be constant."""
        if name not in self.constants:
            raise NotLowered(f"{what} is not constant")
        return self.constants[name]

    def integers(self, name: str, what: str) -> tuple[int, ...]:
        """An input that must be a constant list of integers."""
        array = self.constant(name, what)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise NotLowered(f"{what} is not a list of integers")
        return tuple(int(value) for value in array.ravel())

    def scalar(self, name: str, what: str, default: float) -> float:
        """An optional input that must be one constant number."""
        if not name:
            return default
        array = self.constant(name, what)
        if array.size != 1:
            raise NotLowered(f"{what} is not one number")
        value = float(to_float32(array).reshape(()))
        if np.isnan(value):
            raise NotLowered(f"{what} is NaN")
        return value

    def emit(
        self, op: str, name: str, inputs: Sequence[str], output: str, attributes: Mapping[str, Attribute] | None = None
    ) -> str:
        """Adds an IR node; returns the name of its output."""
        while len(inputs) > 1 and not inputs[-1]:
            inputs = inputs[:-1]
        self.nodes.append(Node(op, name, tuple(inputs), (output,), dict(attributes or {})))
        return output
