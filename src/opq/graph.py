"""The small intermediate representation: a list of nodes between named values.

Operators and attributes are those of docs/format.md. A value's name is either a graph input, a tensor
(`Model.tensors`), or the output of an earlier node; "" stands for an absent optional input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Dimension = int | str | None
Attribute = int | float | str | tuple[int, ...]

DTYPES = ("float32", "int32", "int64")


@dataclass(frozen=True)
class ValueInfo:
    """Name, element type and shape of a graph input or output; unknown dimensions are strings or None."""

    name: str
    dtype: str
    shape: tuple[Dimension, ...]

    @property
    def type(self) -> str:
        """The element type as ONNX Runtime spells it, e.g. "tensor(float)"."""
        return {"float32": "tensor(float)"}.get(self.dtype, f"tensor({self.dtype})")


@dataclass(frozen=True)
class Node:
    """One operation. `inputs` and `outputs` are names of values."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which every input has been made before."""

    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    nodes: tuple[Node, ...]
