"""Two networks side by side: how far apart their tensors are, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from opq.compressed import CompressedModel
from opq.model import Model
from opq.quantization import QuantizedTensor
from opq.reference.tensor_section import Tensor

_BLOCK = 1 << 20  # numbers at a time, so that their float64 copies stay small

Network = CompressedModel | Model | Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class TensorSide:
    """One network's version of a tensor: share of zeros, and bytes in its file (4 per element where it is dense)."""

    sparsity: float
    bytes: int
    quantized: bool


@dataclass(frozen=True)
class TensorDifference:
    """A float tensor by its name.

    shape  of `first`, or of `second` where that is the only one
    error  sum (first - second)^2 / sum first^2; inf where only `first` is zero, None where the two cannot be compared:
           one network lacks the tensor, or the shapes differ
    first  None where the first network lacks it; `second` alike
    """

    name: str
    shape: tuple[int, ...]
    error: float | None
    first: TensorSide | None
    second: TensorSide | None

    @property
    def is_layer(self) -> bool:
        """Whether it is the weight of a layer: quantized on a side, or of two dimensions or more."""
        return len(self.shape) >= 2 or any(side is not None and side.quantized for side in (self.first, self.second))


def compare_tensors(first: Network, second: Network) -> list[TensorDifference]:
    """The differences of all float tensors, matched by name, in the order of `first` and then of `second`."""
    one, other = _tensors(first), _tensors(second)
    result = []
    for name in {**one, **other}:
        a, b = one.get(name), other.get(name)
        known = a if a is not None else b
        assert known is not None
        error = relative_error(_values(a), _values(b)) if a is not None and b is not None and a.shape == b.shape else None
        result.append(TensorDifference(name, known.shape, error, _side(first, name, a), _side(second, name, b)))
    return result


def relative_error(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """sum (first - second)^2 / sum first^2 in float64 over arrays of one shape; 0 where they are equal."""
    a, b = first.ravel(), second.ravel()
    noise = energy = 0.0
    for start in range(0, a.size, _BLOCK):
        x, y = (values[start : start + _BLOCK].astype(np.float64) for values in (a, b))
        noise += float(np.sum((x - y) ** 2))
        energy += float(np.sum(x * x))
    if noise == 0.0:
        return 0.0
    return noise / energy if energy > 0.0 else float("inf")


def _tensors(network: Network) -> dict[str, Tensor]:
    """The float tensors by name: the weights of layers first, in the graph's order."""
    tensors: Mapping[str, Tensor] = network if isinstance(network, Mapping) else network.tensors
    graph = None if not isinstance(network, CompressedModel | Model) else network.graph
    order = [] if graph is None else [name for node in graph.nodes for name in node.inputs[1:] if name in tensors]
    return {name: tensors[name] for name in {**dict.fromkeys(order), **tensors} if _is_float(tensors[name])}


def _is_float(tensor: Tensor) -> bool:
    return isinstance(tensor, QuantizedTensor) or tensor.dtype.kind == "f" or tensor.dtype.name == "bfloat16"


def _values(tensor: Tensor) -> npt.NDArray[Any]:
    return tensor.dequantize() if isinstance(tensor, QuantizedTensor) else tensor


def _side(network: Network, name: str, tensor: Tensor | None) -> TensorSide | None:
    if tensor is None:
        return None
    quantized = isinstance(tensor, QuantizedTensor)
    if isinstance(tensor, QuantizedTensor):
        sparsity = tensor.sparsity
    else:
        sparsity = 1.0 - np.count_nonzero(tensor) / tensor.size if tensor.size else 0.0
    size = network.entries[name].bytes if isinstance(network, CompressedModel) else 4 * tensor.size
    return TensorSide(float(sparsity), size, quantized)
