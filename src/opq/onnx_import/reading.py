"""A file, bytes or a ModelProto -> nodes and constants, checked against the ONNX schemas."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from opq.errors import FormatError, UnsupportedError
from opq.graph import Dimension
from opq.onnx_import.tensors import Array, is_float, tensor_array

if TYPE_CHECKING:
    from opq.onnx_import import OnnxSource

OPSETS = range(9, 22)


@dataclass
class OnnxNetwork:
    """A ModelProto taken apart, on its way to being lowered."""

    opset: int
    inputs: list[ValueInfoProto]  # without those that are constants
    outputs: list[ValueInfoProto]
    nodes: list[NodeProto]  # in order, without Constant nodes
    constants: dict[str, Array]
    shapes: dict[str, tuple[Dimension, ...]] = field(default_factory=dict)  # as far as known
    types: dict[str, int] = field(default_factory=dict)  # TensorProto.DataType, as far as known

    def remove_dead_code(self) -> None:
        """Drops nodes that no output needs and constants that no node reads."""
        needed = {value.name for value in self.outputs}
        alive = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                alive.append(node)
                needed.update(node.input)
        self.nodes = alive[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in needed}

    def dense_bytes(self) -> int:
        """4 bytes for every float parameter."""
        return 4 * sum(array.size for array in self.constants.values() if is_float(array))


def source_name(source: OnnxSource) -> str:
    """What messages call the model."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return "ONNX model"


def read(source: OnnxSource) -> OnnxNetwork:
    """Takes the model apart. Messages of the errors do not name the source; the caller adds it."""
    folder = Path(source).parent if isinstance(source, (str, os.PathLike)) else None
    model = _parse(source)
    opset = _opset(model)
    graph = model.graph
    _check_names(graph)
    if graph.sparse_initializer:
        raise UnsupportedError(f"sparse initializer {graph.sparse_initializer[0].values.name!r}")

    constants: dict[str, Array] = {}
    for tensor in graph.initializer:
        if not tensor.name or tensor.name in constants:
            raise FormatError(f"initializer {tensor.name!r} occurs twice or has no name")
        constants[tensor.name] = tensor_array(tensor, folder)

    nodes: list[NodeProto] = []
    for node in graph.node:
        value = _constant_value(node)
        if value is not None:
            if node.output[0] in constants:
                raise FormatError(f"value {node.output[0]!r} is made twice")
            constants[node.output[0]] = tensor_array(value, folder)
        else:
            nodes.append(_copy(node))

    network = OnnxNetwork(
        opset=opset,
        inputs=[_copy(value) for value in graph.input if value.name not in constants],
        outputs=[_copy(value) for value in graph.output],
        nodes=nodes,
        constants=constants,
    )
    _check_order(network)
    _check_schemas(nodes, model.ir_version, opset)
    return network


def _constant_value(node: NodeProto) -> TensorProto | None:
    """The tensor of a Constant node; its other forms (lists, single numbers) are left to folding."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or len(node.output) != 1:
        return None
    return next((a.t for a in node.attribute if a.name == "value" and a.HasField("t")), None)


_Message = TypeVar("_Message", NodeProto, ValueInfoProto)


def _copy(message: _Message) -> _Message:
    """A copy of its own: a part of a ModelProto would keep the memory of the whole model, weights included."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _parse(source: OnnxSource) -> ModelProto:
    if isinstance(source, ModelProto):
        return source
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    try:
        model: ModelProto = ModelProto.FromString(data)
    except DecodeError as error:
        raise FormatError("damaged, or not an ONNX file") from error
    if not model.HasField("graph") or not model.ir_version:
        raise FormatError("damaged, or not an ONNX file")
    return model


def _opset(model: ModelProto) -> int:
    versions: list[int] = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(versions) != 1 or versions[0] not in OPSETS:
        found = versions[0] if versions else "missing"
        raise UnsupportedError(f"opset {found}: opq reads opsets {OPSETS.start} to {OPSETS.stop - 1}")
    return versions[0]


def _check_names(graph: GraphProto) -> None:
    """Protobuf hands out a string that is not UTF-8 as bytes."""
    values = [*graph.input, *graph.output]
    names: list[str | bytes] = [item.name for item in [*graph.initializer, *graph.node, *values]]
    names += [dim.dim_param for value in values for dim in value.type.tensor_type.shape.dim]
    for node in graph.node:
        names += [node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute)]
    if not all(isinstance(name, str) for name in names):
        raise FormatError("a name is not UTF-8")


def _check_order(network: OnnxNetwork) -> None:
    """Every value is made once, and before it is read."""
    made = set(network.constants)
    made.add("")

    def make(names: Iterable[str]) -> None:
        for name in names:
            if name and name in made:
                raise FormatError(f"value {name!r} is made twice")
            made.add(name)

    make(value.name for value in network.inputs)
    for node in network.nodes:
        for name in node.input:
            if name not in made:
                raise FormatError(f"node {node_name(node)!r} reads {name!r}, which is not made before it")
        make(node.output)
    if not network.outputs:
        raise FormatError("the graph has no outputs")
    for value in network.outputs:
        if not value.name or value.name not in made:
            raise FormatError(f"output {value.name!r} is never made")


def _check_schemas(nodes: Iterable[NodeProto], ir_version: int, opset: int) -> None:
    """Numbers of inputs and outputs, names and types of attributes. Unknown operators are reported by lowering."""
    context = onnx.checker.DEFAULT_CONTEXT.__class__()
    context.ir_version = ir_version
    context.opset_imports = {"": opset, "ai.onnx": opset}
    for node in nodes:
        if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type, opset):
            continue
        try:
            onnx.checker.check_node(node, context)
        except onnx.checker.ValidationError as error:
            raise FormatError(f"node {node_name(node)!r}: {error}") from error


def node_name(node: NodeProto) -> str:
    """The node's own name, or one made of its operator and output."""
    return node.name or f"{node.op_type}_{next(iter(node.output), '')}"
