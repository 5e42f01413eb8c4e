"""Holding the integer layers of the core against the reference: equal in every bit.

A layer is taken out of its network with the nodes that it takes in behind it (docs/integers.md), and with the ranges of its
inputs and output, and runs as a network of its own on the values that it has in the float32 network. All that it computes is
exact or one rounding at a time, so there is no bound: the bits must be those of the reference. Layers that are not compressed
and other operators run in float32 in every precision; `opq.verification` checks these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from opq import _core
from opq.compressed import CompressedModel
from opq.errors import UnsupportedError
from opq.graph import Graph, Node, ValueInfo
from opq.reference.integer import execution
from opq.reference.integer.layers import is_integer_layer
from opq.reference.integer.quantized import Precision
from opq.verification import NodeCheck, Verification, same_bits

Array = npt.NDArray[Any]

_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu")


def verify_integers(
    model: CompressedModel,
    inputs: Mapping[str, Array],
    precision: Precision,
    threads: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Verification:
    """Check every integer layer of `model` for these inputs (arrays of the declared types and shapes, C-contiguous).

    Raises UnsupportedError for a model without a graph, or without a layer that computes with integers.
    """
    if model.graph is None:
        raise UnsupportedError("the file holds tensors without a graph: there is nothing to verify")
    groups = list(_integer_layers(model.graph, model.tensors))
    if not groups:
        raise UnsupportedError(f"no layer is compressed: there is nothing to verify in precision {precision}")
    names = list(dict.fromkeys(name for node in model.graph.nodes for name in node.outputs))
    kept = _core.Session(model.network, threads, keep_all=True).run(dict(inputs), names)
    values = {**inputs, **dict(zip(names, kept, strict=True))}
    checks = []
    for i, nodes in enumerate(groups):
        if progress is not None and i % 20 == 0:
            progress(f"verifying layer {i + 1} of {len(groups)}")
        checks.append(_check(_alone(model, nodes, values), values, precision, threads))
    return Verification(checks, None)


def _integer_layers(graph: Graph, tensors: Mapping[str, object]) -> Iterator[list[Node]]:
    """Each with the nodes behind it: an Add, then one activation, as long as nothing else reads the value between."""
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    readers.update(2 * [info.name for info in graph.outputs])
    reader = {name: node for node in graph.nodes for name in node.inputs}
    for layer in graph.nodes:
        if layer.op not in ("Conv", "Linear") or not is_integer_layer(tensors.get(layer.inputs[1])):
            continue
        nodes = [layer]
        for ops in (("Add",), _ACTIVATIONS):
            value = nodes[-1].outputs[0]
            if readers[value] == 1 and reader[value].op in ops:
                nodes.append(reader[value])
        yield nodes


def _alone(model: CompressedModel, nodes: list[Node], values: Mapping[str, Array]) -> CompressedModel:
    """These nodes as a network from the values that they read to the value of the last."""
    made = {node.outputs[0] for node in nodes}
    used = dict.fromkeys(name for node in nodes for name in node.inputs if name and name not in made)
    read = [name for name in used if name not in model.tensors]
    output = nodes[-1].outputs[0]
    graph = Graph(
        tuple(ValueInfo(name, values[name].dtype.name, values[name].shape) for name in read),
        (ValueInfo(output, "float32", values[output].shape),),
        tuple(nodes),
    )
    ranges = {name: model.ranges[name] for name in (*read, *made) if name in model.ranges}
    return CompressedModel(graph, {name: model.tensors[name] for name in used if name in model.tensors}, {}, ranges)


def _check(layer: CompressedModel, values: Mapping[str, Array], precision: Precision, threads: int) -> NodeCheck:
    assert layer.graph is not None
    nodes, [output] = layer.graph.nodes, layer.graph.outputs
    inputs = {info.name: values[info.name] for info in layer.graph.inputs}
    [result] = _core.Session(layer.network_of(precision), threads).run(inputs, [output.name])
    [expected] = execution.run(layer.graph, layer.tensors, layer.ranges, precision, inputs)
    passed = same_bits(result, expected)
    with np.errstate(invalid="ignore"):
        error = np.abs(np.where(result == expected, 0.0, result.astype(np.float64) - expected))
    return NodeCheck(
        "+".join(node.name for node in nodes), "+".join(node.op for node in nodes), result.size,
        float(np.max(error, initial=0.0)), 0.0 if passed else np.inf, passed,
    )  # fmt: skip
