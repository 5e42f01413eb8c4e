"""What an operator is given: arrays, quantized weights, and a node's attributes with their types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from opq.graph import Node
from opq.reference.tensor_section import Tensor

Array = npt.NDArray[Any]
Operands = Sequence[Tensor | None]


def array(inputs: Operands, index: int) -> Array:
    """The input at `index`, which must be present and not quantized."""
    value = inputs[index] if index < len(inputs) else None
    if not isinstance(value, np.ndarray):
        raise ValueError(f"input {index} is missing or quantized")
    return value


def optional_array(inputs: Operands, index: int) -> Array | None:
    """The input at `index`, or None where it is absent."""
    return array(inputs, index) if index < len(inputs) and inputs[index] is not None else None


def double(inputs: Operands, index: int) -> npt.NDArray[np.float64]:
    """The input at `index`, which must be float32, widened: every float32 is a float64."""
    value = array(inputs, index)
    if value.dtype != np.float32:
        raise ValueError(f"input {index} is {value.dtype}, not float32")
    return value.astype(np.float64)


def integer(node: Node, key: str) -> int:
    """An integer attribute."""
    value = node.attributes.get(key)
    if not isinstance(value, int):
        raise ValueError(f"attribute {key} is missing or not an integer")
    return value


def real(node: Node, key: str) -> float:
    """A float attribute, rounded to float32 as the file holds it."""
    value = node.attributes.get(key)
    if not isinstance(value, float):
        raise ValueError(f"attribute {key} is missing or not a float")
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def text(node: Node, key: str) -> str:
    """A string attribute."""
    value = node.attributes.get(key)
    if not isinstance(value, str):
        raise ValueError(f"attribute {key} is missing or not a string")
    return value


def integers(node: Node, key: str) -> tuple[int, ...]:
    """An attribute that is a list of integers."""
    value = node.attributes.get(key)
    if not isinstance(value, tuple):
        raise ValueError(f"attribute {key} is missing or not a tuple of integers")
    return value


def normalize_axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes in [0, rank), counted from the end when negative; out of range or twice is a ValueError."""
    for axis in axes:
        if not -rank <= axis < rank:
            raise ValueError(f"axis {axis} is out of range for rank {rank}")
    normalized = tuple(axis % rank for axis in axes)
    if len(set(normalized)) < len(normalized):
        raise ValueError(f"axes {tuple(axes)} name an axis twice")
    return normalized
