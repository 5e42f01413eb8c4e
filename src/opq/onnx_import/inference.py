"""Shapes and element types of all values, by the shape inference of the `onnx` package."""

from __future__ import annotations

import onnx
from onnx import GraphProto, ModelProto, TensorProto, TypeProto, ValueInfoProto

from opq.errors import FormatError
from opq.graph import Dimension
from opq.onnx_import.reading import OnnxNetwork
from opq.onnx_import.tensors import Array

# Constants up to this many elements are given to the inference by value (targets of Reshape, axes, ...); larger
# ones, the weights, by shape only: the inference copies the whole model several times.
_SMALL = 1024
_NAMELESS = "unnamed dimension "


def infer(network: OnnxNetwork) -> None:
    """Fills network.shapes and network.types. Unknown dimensions are strings (equal string: equal size) or None."""
    graph = GraphProto(name="network")
    for value in network.inputs:
        copy = graph.input.add()
        copy.CopyFrom(value)
        _name_unknown_dimensions(copy)
    for value in network.outputs:
        # The declared shape is left out: a wrong one would win over the right one.
        graph.output.add(name=value.name).type.tensor_type.elem_type = value.type.tensor_type.elem_type
    add_constants(graph, network.constants)
    graph.node.extend(network.nodes)

    inferred = infer_graph(graph, network.opset)
    for value in [*inferred.input, *inferred.value_info, *inferred.output]:
        if value.type.HasField("tensor_type"):
            network.types[value.name] = value.type.tensor_type.elem_type
            if value.type.tensor_type.HasField("shape"):
                network.shapes[value.name] = dimensions(value.type)
    for name, array in network.constants.items():
        network.shapes[name] = array.shape
        network.types[name] = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)


def add_constants(graph: GraphProto, constants: dict[str, Array]) -> None:
    """Small constants become initializers of `graph`, large ones inputs."""
    for name, array in constants.items():
        if array.size <= _SMALL:
            graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        else:
            element_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            graph.input.append(onnx.helper.make_tensor_value_info(name, element_type, array.shape))


def infer_graph(graph: GraphProto, opset: int) -> GraphProto:
    """The graph with the shapes of its values, those that follow from computed shapes included."""
    domains = {node.domain for node in graph.node} - {"", "ai.onnx"}  # nothing is inferred for their nodes
    opsets = [onnx.helper.make_opsetid("", opset), *(onnx.helper.make_opsetid(domain, 1) for domain in domains)]
    model = ModelProto(ir_version=onnx.IR_VERSION, graph=graph, opset_import=opsets)
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, RuntimeError) as error:
        raise FormatError(f"shapes do not fit together: {error}") from error


def dimensions(type_: TypeProto) -> tuple[Dimension, ...]:
    """The dimensions of a tensor type that has a shape."""
    return tuple(dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None) for dim in type_.tensor_type.shape.dim)


def _name_unknown_dimensions(value: ValueInfoProto) -> None:
    """A dimension without a name gets a private one, so that the inference can follow it through Shape nodes."""
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            continue
        if not dim.dim_param:
            dim.dim_param = f"{_NAMELESS}{axis} of {value.name}"


def reported_shape(shape: tuple[Dimension, ...]) -> tuple[Dimension, ...]:
    """The shape without the private names."""
    return tuple(None if isinstance(d, str) and d.startswith(_NAMELESS) else d for d in shape)


def is_float_type(element_type: int) -> bool:
    """Whether opq computes values of this type in float32."""
    return element_type in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
