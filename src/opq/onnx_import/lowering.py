"""ONNX operators -> operators of docs/format.md. All that cannot be lowered is reported in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onnx import TensorProto, ValueInfoProto

from opq.errors import FormatError, UnsupportedError
from opq.graph import Graph, ValueInfo
from opq.model import Model
from opq.onnx_import import elementwise, layers, movement, windows
from opq.onnx_import.absorption import absorb
from opq.onnx_import.builder import Builder, NotLowered, Operation
from opq.onnx_import.finishing import bind_outputs, live_part
from opq.onnx_import.folding import fold
from opq.onnx_import.inference import dimensions, is_float_type, reported_shape
from opq.onnx_import.reading import OnnxNetwork, read, source_name
from opq.reference.checking import check

if TYPE_CHECKING:
    from opq.onnx_import import OnnxSource

Lower = Callable[[Builder, Operation], None]

# Operators that also take int32 and int64 tensors.
_ANY_TYPE: dict[str, Lower] = {
    "Add": elementwise.lower_plain,
    "Sub": elementwise.lower_plain,
    "Mul": elementwise.lower_plain,
    "Div": elementwise.lower_plain,
    "Identity": elementwise.lower_identity,
    "Pad": movement.lower_pad,
    "Concat": movement.lower_concat,
    "Flatten": movement.lower_flatten,
    "Reshape": movement.lower_reshape,
    "Squeeze": movement.lower_squeeze,
    "Unsqueeze": movement.lower_squeeze,
    "Transpose": movement.lower_transpose,
}
_FLOAT_ONLY: dict[str, Lower] = {
    "Conv": layers.lower_conv,
    "Gemm": layers.lower_gemm,
    "MatMul": layers.lower_matmul,
    "BatchNormalization": layers.lower_batch_normalization,
    "Relu": elementwise.lower_plain,
    "Sigmoid": elementwise.lower_plain,
    "Tanh": elementwise.lower_plain,
    "HardSwish": elementwise.lower_plain,
    "LeakyRelu": elementwise.lower_leaky_relu,
    "HardSigmoid": elementwise.lower_hard_sigmoid,
    "Clip": elementwise.lower_clip,
    "Dropout": elementwise.lower_identity,
    "Cast": elementwise.lower_cast,
    "MaxPool": windows.lower_pool,
    "AveragePool": windows.lower_pool,
    "GlobalAveragePool": windows.lower_global_average_pool,
    "ReduceMean": windows.lower_reduce_mean,
    "Softmax": windows.lower_softmax,
    "LRN": windows.lower_lrn,
}
_INTEGER_TYPES: dict[int, str] = {TensorProto.INT32: "int32", TensorProto.INT64: "int64"}


def import_model(source: OnnxSource) -> Model:
    """See `opq.load_onnx`."""
    name = source_name(source)
    try:
        network = read(source)
        network.remove_dead_code()
        dense_bytes = network.dense_bytes()
        fold(network)
        model = _lower(network, dense_bytes, name)
        check(model.graph, model.tensors)
        return model
    except UnsupportedError as error:
        raise UnsupportedError(f"{name}: {_one_line(error)}") from error
    except (FormatError, UnicodeDecodeError) as error:
        raise FormatError(f"{name}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _lower(network: OnnxNetwork, dense_bytes: int, source: str) -> Model:
    builder = Builder(network)
    refused: list[str] = []
    for node in network.nodes:
        operation = Operation(node, [builder.resolve(name) for name in node.input])
        try:
            _lower_node(builder, operation)
        except NotLowered as error:
            refused.append(f"{operation.op} {operation.name!r}{f' ({error})' if str(error) else ''}")
    inputs = tuple(_value_info(network, value, refused, "input") for value in network.inputs)
    outputs = tuple(_value_info(network, value, refused, "output") for value in network.outputs)
    if refused:
        raise UnsupportedError(f"not supported: {', '.join(refused)}")
    bind_outputs(builder, outputs)
    absorb(builder, [value.name for value in outputs])
    nodes, tensors = live_part(builder, outputs)
    shapes = {value.name: value.shape for value in inputs}
    for name in [name for node in nodes for name in node.outputs]:
        if name in builder.shapes:
            shapes[name] = builder.shapes[name]
    moments = {name: moments for name, moments in builder.moments.items() if name in shapes}
    return Model(Graph(inputs, outputs, nodes), tensors, dense_bytes, source, shapes, moments)


def _lower_node(builder: Builder, operation: Operation) -> None:
    lower = _ANY_TYPE.get(operation.op) or _FLOAT_ONLY.get(operation.op)
    if lower is None:
        raise NotLowered
    # All data inputs of one node have one type; the further ones of these operators are lists and bounds.
    element_type = builder.types.get(operation.input(0))
    integers = element_type in _INTEGER_TYPES and operation.op in _ANY_TYPE
    if element_type and not integers and not is_float_type(element_type):
        raise NotLowered(f"on {TensorProto.DataType.Name(element_type).lower()} elements")
    lower(builder, operation)


def _value_info(network: OnnxNetwork, value: ValueInfoProto, refused: list[str], role: str) -> ValueInfo:
    """Name, type and shape of an input or output of the graph; what is not a known tensor is added to `refused`."""
    element_type = value.type.tensor_type.elem_type or network.types.get(value.name, 0)
    dtype = "float32" if is_float_type(element_type) else _INTEGER_TYPES.get(element_type)
    shape = network.shapes.get(value.name)
    if value.type.tensor_type.HasField("shape"):
        declared = dimensions(value.type)
        if shape is None or len(shape) != len(declared):
            shape = declared if shape is None else shape
        else:
            shape = tuple(d if isinstance(d, int) or not e else e for d, e in zip(shape, declared, strict=True))
    if dtype is None:
        refused.append(f"{role} {value.name!r} (not a tensor of float, int32 or int64)")
    elif shape is None and not refused:  # behind a refused node the rank is seldom known
        refused.append(f"{role} {value.name!r} (its rank is not known)")
    return ValueInfo(value.name, dtype or "float32", reported_shape(shape or ()))
