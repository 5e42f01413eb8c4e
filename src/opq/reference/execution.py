"""Runs a graph in NumPy: the definition that the compiled core is checked against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from opq.graph import Graph, ValueInfo
from opq.reference.checking import check
from opq.reference.operands import Array
from opq.reference.operators import evaluate
from opq.reference.tensor_section import Tensor

__all__ = ["check", "checked_inputs", "dense", "rounded", "run"]


def run(
    graph: Graph,
    tensors: Mapping[str, Tensor],
    inputs: Mapping[str, Array],
    outputs: Sequence[str] | None = None,
) -> list[Array]:
    """Evaluates `graph`, which has passed `check`, and returns copies of the values named by `outputs`.

    inputs: one array per graph input, of its type and rank and its fixed sizes.
    outputs: any values of the graph; None: the graph's outputs.
    Sums are float64; every node's float output is rounded to float32 once. Values that no later node reads are freed.
    Raises ValueError, naming the input or node, when something does not fit.
    """
    wanted = [value.name for value in graph.outputs] if outputs is None else list(outputs)
    values: dict[str, Tensor] = {**tensors, **checked_inputs(graph.inputs, inputs)}
    made = set(values) | {name for node in graph.nodes for name in node.outputs}
    for name in wanted:
        if name not in made:
            raise ValueError(f"there is no value {name!r} in the graph")
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    readers.update(wanted)
    for node in graph.nodes:
        result = evaluate(node, [values[name] if name else None for name in node.inputs])
        if readers[node.outputs[0]]:
            values[node.outputs[0]] = rounded(result)
        for name in node.inputs:
            readers[name] -= 1
            if name and not readers[name]:
                values.pop(name, None)
    return [dense(values[name]) for name in wanted]


def rounded(result: Array) -> Array:
    """float64 to float32, beyond its range to infinity; other types as they are."""
    if result.dtype != np.float64:
        return result
    with np.errstate(over="ignore"):
        return result.astype(np.float32)


def dense(value: Tensor) -> Array:
    """A copy of a value as an array."""
    return np.array(value, order="C") if isinstance(value, np.ndarray) else value.dequantize()


def checked_inputs(expected: Sequence[ValueInfo], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """`inputs` as they are; ValueError, naming the input, unless they are those that are expected."""
    unknown = set(inputs) - {value.name for value in expected}
    if unknown:
        raise ValueError(f"there is no input {min(unknown)!r}")
    for value in expected:
        if value.name not in inputs:
            raise ValueError(f"input {value.name!r} is missing")
        array = inputs[value.name]
        if array.dtype != np.dtype(value.dtype):
            raise ValueError(f"input {value.name!r} is {array.dtype}, must be {value.dtype}")
        if len(value.shape) != array.ndim or any(
            isinstance(size, int) and size != n for size, n in zip(value.shape, array.shape, strict=True)
        ):
            raise ValueError(f"input {value.name!r} has shape {array.shape}, must be {value.shape}")
    return dict(inputs)
