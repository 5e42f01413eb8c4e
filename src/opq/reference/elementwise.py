"""Operators that work element by element."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from opq.graph import Node
from opq.reference.operands import Array, Operands, array, double, real

Doubles = npt.NDArray[np.float64]


def relu(node: Node, inputs: Operands) -> Doubles:
    """max(x, 0)"""
    return np.maximum(double(inputs, 0), 0.0)


def leaky_relu(node: Node, inputs: Operands) -> Doubles:
    """alpha x for negative x, else x"""
    x = double(inputs, 0)
    return np.where(x < 0, real(node, "alpha") * x, x)


def clip(node: Node, inputs: Operands) -> Doubles:
    """min(max(x, min), max): with min > max everything is max."""
    return np.minimum(np.maximum(double(inputs, 0), real(node, "min")), real(node, "max"))


def sigmoid(node: Node, inputs: Operands) -> Doubles:
    """1 / (1 + exp(-x)); exp may overflow to inf, which gives the right 0."""
    return np.asarray(1.0 / (1.0 + np.exp(-double(inputs, 0))))


def tanh(node: Node, inputs: Operands) -> Doubles:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))"""
    return np.tanh(double(inputs, 0))


def unit_clamp(v: Doubles) -> Doubles:
    """min(1, max(0, v))"""
    return np.minimum(np.maximum(v, 0.0), 1.0)


def hard_sigmoid(node: Node, inputs: Operands) -> Doubles:
    """min(1, max(0, alpha x + beta))"""
    return unit_clamp(real(node, "alpha") * double(inputs, 0) + real(node, "beta"))


def hard_swish(node: Node, inputs: Operands) -> Doubles:
    """x * min(1, max(0, x / 6 + 1 / 2))"""
    x = double(inputs, 0)
    return np.asarray(x * unit_clamp(x / 6.0 + 0.5))


def _truncated_quotient(a: Array, b: Array) -> Array:
    """Integer division rounding toward zero; x / 0 is 0, and lowest / -1 wraps to lowest."""
    divisor = np.where(b == 0, np.ones_like(b), b)
    floor = np.floor_divide(a, divisor)
    inexact_negative = (floor * divisor != a) & ((a < 0) != (divisor < 0))
    return np.where(b == 0, np.zeros_like(a), floor + inexact_negative.astype(a.dtype))


_INTEGER: dict[str, Callable[[Array, Array], Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _truncated_quotient,
}
_FLOAT: dict[str, Callable[[Array, Array], Array]] = {**_INTEGER, "Div": np.divide}


def binary(node: Node, inputs: Operands) -> Array:
    """Add, Sub, Mul and Div with NumPy's broadcasting.

    For floats, float64 arithmetic on float32 values followed by one rounding to float32 gives the correctly rounded
    float32 result: 53 bits >= 2 * 24 + 2 (Figueroa, "When is double rounding innocuous?", 1995).
    """
    a, b = array(inputs, 0), array(inputs, 1)
    if a.dtype != b.dtype:
        raise ValueError(f"operands of different types {a.dtype} and {b.dtype}")
    if a.dtype == np.float32:
        return np.asarray(_FLOAT[node.op](a.astype(np.float64), b.astype(np.float64)))
    return np.asarray(_INTEGER[node.op](a, b))
