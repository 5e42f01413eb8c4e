"""The operators of docs/format.md, one function each.

A function takes the node and its input arrays (None or missing at the end: absent) and returns the one output: float64
for floats, computed with float64 sums, or the input's integer type. Moved elements keep their type. It raises
ValueError when shapes, types and attributes do not fit; `evaluate` adds the node's name.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from opq.errors import UnsupportedError
from opq.graph import Node
from opq.reference import elementwise, pooling, products, reductions, shaping
from opq.reference.operands import Array, Operands

OPERATORS: dict[str, Callable[[Node, Operands], Array]] = {
    "Conv": products.conv,
    "Linear": products.linear,
    "MatMul": products.matmul,
    "Relu": elementwise.relu,
    "LeakyRelu": elementwise.leaky_relu,
    "Clip": elementwise.clip,
    "Sigmoid": elementwise.sigmoid,
    "Tanh": elementwise.tanh,
    "HardSigmoid": elementwise.hard_sigmoid,
    "HardSwish": elementwise.hard_swish,
    "Add": elementwise.binary,
    "Sub": elementwise.binary,
    "Mul": elementwise.binary,
    "Div": elementwise.binary,
    "MaxPool": pooling.max_pool,
    "AveragePool": pooling.average_pool,
    "ReduceMean": reductions.reduce_mean,
    "Softmax": reductions.softmax,
    "LRN": reductions.lrn,
    "Pad": shaping.pad,
    "Concat": shaping.concat,
    "Flatten": shaping.flatten,
    "Reshape": shaping.reshape,
    "Squeeze": shaping.squeeze,
    "Unsqueeze": shaping.unsqueeze,
    "Transpose": shaping.transpose,
}

MAX_RANK = 8


def describe(node: Node) -> str:
    """A node for error messages: its name, or failing that the value it makes, and its operator."""
    return f"node {node.name or ', '.join(node.outputs)!r} ({node.op})"


def evaluate(node: Node, inputs: Operands) -> Array:
    """The node's output before it is rounded to float32.

    Raises UnsupportedError for an unknown operator, ValueError when the inputs do not fit the node; both name the node.
    """
    operator = OPERATORS.get(node.op)
    if operator is None:
        raise UnsupportedError(f"{describe(node)}: unknown operator")
    try:
        # Overflow, 0 / 0 and inf - inf are results like others.
        with np.errstate(all="ignore"):
            result = np.asarray(operator(node, inputs))
    except ValueError as error:
        message = " ".join(str(error).split())
        raise ValueError(f"{describe(node)}: {message}") from error
    if result.ndim > MAX_RANK:
        raise ValueError(f"{describe(node)}: the result has rank {result.ndim}, more than {MAX_RANK}")
    return result
