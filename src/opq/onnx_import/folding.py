"""Constant subgraphs are evaluated by the `onnx` package's reference evaluator; what nobody reads is dropped."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto
from onnx.reference import ReferenceEvaluator

from opq.errors import FormatError
from opq.onnx_import.inference import add_constants, dimensions, infer, infer_graph
from opq.onnx_import.reading import OnnxNetwork
from opq.onnx_import.shape_values import Value, known_values
from opq.onnx_import.tensors import Array

# A folded tensor may have as many elements as its inputs, or this many: a few bytes of ConstantOfShape or Tile
# could ask for terabytes.
_MAX_GROWN_ELEMENTS = 2**24
# What a node raises on impossible inputs, or where the evaluator lacks it: it stays, and lowering reports it.
_EVALUATION_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip
_RANDOM = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli", "Dropout"}
)


def fold(network: OnnxNetwork) -> None:
    """Evaluates, infers shapes, and repeats while one makes more of the other possible."""
    while True:
        infer(network)
        remaining = [node for node in network.nodes if not _fold_node(network, node)]
        progress = len(remaining) < len(network.nodes)
        network.nodes = remaining
        values = known_values(network)
        for node in network.nodes:
            progress |= node.op_type == "Reshape" and _fix_reshape_target(network, node, values)
        network.remove_dead_code()
        if not progress:
            return


def _fold_node(network: OnnxNetwork, node: NodeProto) -> bool:
    if node.domain not in ("", "ai.onnx") or node.op_type in _RANDOM:
        return False
    if node.op_type == "Shape":
        results = _shape_value(network, node)
    elif all(not name or name in network.constants for name in node.input):
        results = _evaluate(network, node)
    else:
        return False
    if results is None:
        return False
    for name, array in zip(node.output, results, strict=False):
        if name:
            network.constants[name] = array
    return True


def _shape_value(network: OnnxNetwork, node: NodeProto) -> list[Array] | None:
    """Shape of a value whose dimensions, as far as the node asks for them, are known."""
    shape = network.shapes.get(node.input[0])
    if shape is None:
        return None
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    part = shape[bounds.get("start", 0) : bounds.get("end", len(shape))]
    if not all(isinstance(size, int) for size in part):
        return None
    return [np.array(part, dtype=np.int64)]


def _evaluate(network: OnnxNetwork, node: NodeProto) -> list[Array] | None:
    """The node's outputs, or None where it cannot be evaluated or would grow too large."""
    if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute):
        return None
    if not onnx.defs.has(node.op_type, network.opset):
        return None
    inputs = {name: network.constants[name] for name in node.input if name}
    if any(array.dtype.kind not in "biufV" for array in inputs.values()):  # V: ml_dtypes, such as bfloat16
        return None
    graph = GraphProto(name="fold", node=[node])
    add_constants(graph, inputs)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
    try:
        inferred = infer_graph(graph, network.opset)
    except FormatError:
        return None
    limit = max(_MAX_GROWN_ELEMENTS, sum(array.size for array in inputs.values()))
    for value in inferred.output:
        if not value.type.tensor_type.HasField("shape"):
            return None
        shape = dimensions(value.type)
        known = [size for size in shape if isinstance(size, int)]
        if len(known) < len(shape) or math.prod(known) > limit:
            return None
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", network.opset)])
    del model.graph.initializer[:]
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, inputs)
    except _EVALUATION_ERRORS:
        return None
    if not all(isinstance(result, (np.ndarray, np.generic)) for result in results):
        return None
    made = iter(results)
    return [np.asarray(next(made)) if name else np.empty(0) for name in node.output]


def _fix_reshape_target(network: OnnxNetwork, node: NodeProto, values: Mapping[str, Value]) -> bool:
    """Replaces a target shape that is computed at run time where enough of it, or of the inferred result, is known.

    Exports with a dynamic batch compute targets by Shape, Gather, Concat.
    """
    if node.input[1] in network.constants:
        return False
    before = network.shapes.get(node.input[0], ())
    after = network.shapes.get(node.output[0], (0,))
    zero_is_a_size = any(attribute.name == "allowzero" and attribute.i for attribute in node.attribute)
    target = None
    if node.input[1] in values and not (zero_is_a_size and 0 in values[node.input[1]]):
        target = _fixed_target(before, values[node.input[1]])
    if target is None and 0 not in after:
        target = _fixed_target(before, after)
    if target is None:
        return False
    name = f"{node.output[0]}.shape"
    while name in network.constants or name in network.shapes:
        name += "_"
    network.constants[name] = np.array(target, dtype=np.int64)
    node.input[1] = name
    for attribute in [a for a in node.attribute if a.name == "allowzero"]:
        node.attribute.remove(attribute)
    return True


def _fixed_target(before: Value, target: Value) -> list[int] | None:
    """The target in numbers alone, or None.

    One unknown dimension is -1; further ones can only be those that are the input's at the same place: 0.
    """
    fixed = [size if isinstance(size, int) else -1 for size in target]
    if fixed.count(-1) > 1:
        for axis, (old, new) in enumerate(zip(before, target, strict=False)):
            if isinstance(new, str) and old == new:
                fixed[axis] = 0
    return fixed if fixed.count(-1) <= 1 else None
