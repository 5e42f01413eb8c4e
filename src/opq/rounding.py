"""Which tensors that stay dense are rounded to numbers of 16 bits, which take half the bytes in a file.

A value rounded to float16 is off by at most 2^-11 of itself, eight times less than the finest codebook is off by (half a step,
2^-8 of the largest weight). So scales and biases are rounded without being asked; other dense tensors (constants of the graph,
layers too small to quantize) only on request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from opq.graph import Graph
from opq.quantization import Float32, QuantizedTensor
from opq.reference.half_precision import round_to
from opq.reference.tensor_section import Tensor

DenseTensors = Literal["auto", "float32", "float16", "bfloat16"]

_UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # largest relative error inside the range of the type
_NEGLIGIBLE = 2.0**-20  # an error this far below the tensor's largest value may be any share of its own value


def check_dense(dense: DenseTensors) -> None:
    """Raises ValueError for a word that `round_dense` does not know."""
    if dense not in get_args(DenseTensors):
        raise ValueError(f"dense {dense!r} is unknown: expected {', '.join(map(repr, get_args(DenseTensors)))}")


def round_dense(graph: Graph | None, tensors: Mapping[str, Tensor], dense: DenseTensors) -> dict[str, Tensor]:
    """All tensors, those of the dense ones that `dense` speaks of rounded; see `opq.compress`."""
    chosen: set[str] = set()
    if dense == "auto" and graph is not None:
        chosen = _scales_and_biases(graph)
    elif dense in _UNIT:
        chosen = set(tensors)
    half = "bfloat16" if dense == "bfloat16" else "float16"
    result = dict(tensors)
    for name in chosen & set(tensors):
        tensor = tensors[name]
        if not isinstance(tensor, QuantizedTensor) and tensor.dtype == np.float32:
            result[name] = rounded(tensor, half)
    return result


def rounded(values: Float32, half: str) -> Float32:
    """`values` rounded to `half` if that keeps them, as they are otherwise.

    Every value must keep all bits of the type, or be off by at most 2^-20 of the largest |value|: nothing overflows, and small
    values lose bits (float16 has fewer below 2^-14) only beside large ones. Zeros stay zeros.
    """
    result = round_to(values, half)
    magnitude = np.abs(values).astype(np.float64)
    allowed = np.maximum(_UNIT[half] * magnitude, _NEGLIGIBLE * magnitude.max(initial=0.0))
    return result if bool((np.abs(result.astype(np.float64) - values) <= allowed).all()) else values


def _scales_and_biases(graph: Graph) -> set[str]:
    """Tensors that Conv and Linear nodes read as scale or bias, and that nothing else reads."""
    operands = {name for node in graph.nodes if node.op in ("Conv", "Linear") for name in node.inputs[2:] if name}
    others = {value.name for value in graph.outputs}
    for node in graph.nodes:
        others.update(node.inputs[:2] if node.op in ("Conv", "Linear") else node.inputs)
    return operands - others
