"""The compressed model of weights that were trained with masks and codebooks fixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from opq.compressed import CompressedModel
from opq.fixed_compression import FixedCompression
from opq.graph import Graph
from opq.reference.tensor_section import Tensor
from opq.rounding import DenseTensors, round_dense
from opq.weights import as_weights


def fine_tuned(
    graph: Graph | None,
    tensors: Mapping[str, npt.NDArray[Any]],
    dense_bytes: int,
    fixed: FixedCompression,
    weights: Mapping[str, npt.ArrayLike],
    dense: DenseTensors,
) -> CompressedModel:
    """`tensors`, those of them replaced that `weights` names, the layers of `fixed` in their codes; errors as `opq.compress`.

    Nothing is repaired: scales and biases were trained along with the codes.
    """
    trained = dict(tensors)
    for name, value in weights.items():
        if name not in trained:
            raise ValueError(f"weights names {name!r}, which the model does not have")
        trained[name] = _like(tensors[name], name, value)
    missing = next((name for name in fixed if name not in trained), None)
    if missing is not None:
        raise ValueError(f"fixed has a layer {missing!r}, which the model does not have")
    result: dict[str, Tensor] = {**trained, **{name: fixed.quantize(name, trained[name]) for name in fixed}}
    return CompressedModel(graph, round_dense(graph, result, dense), {"dense_bytes": dense_bytes})


def _like(tensor: npt.NDArray[Any], name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """`value` in the type of the tensor that it replaces, and of its shape."""
    array = np.asarray(value)
    if array.shape != tensor.shape:
        raise ValueError(f"weights of {name!r} have shape {array.shape}, the model's {tensor.shape}")
    if tensor.dtype == np.float32 and array.size:
        return as_weights(name, array).reshape(array.shape)
    if not np.can_cast(array.dtype, tensor.dtype):
        raise ValueError(f"weights of {name!r} are {array.dtype}, the model's {tensor.dtype}")
    return array.astype(tensor.dtype)
