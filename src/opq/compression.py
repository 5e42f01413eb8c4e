"""The whole path: weights and a budget -> allocation -> codes -> a compressed model that meets the budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from opq.allocation import stagewise
from opq.budget import Size, parse_budget
from opq.compressed import CompressedModel
from opq.errors import UnsupportedError
from opq.fitting import Problem, Progress, Ticker, fit
from opq.graph import Graph
from opq.model import Model
from opq.quantization import ChannelScale, Rounding, as_weights
from opq.reference.checking import check
from opq.reference.tensor_section import Tensor
from opq.repair import Repairs
from opq.rounding import DenseTensors, check_dense, round_dense
from opq.statistics import measure


def compress(
    model: Model | Mapping[str, npt.ArrayLike],
    *,
    ratio: float | None = None,
    size: Size | None = None,
    sparsity: float | None = None,
    bits: int | None = None,
    dense: DenseTensors = "auto",
    rounding: Rounding = "nearest",
    repair: bool = True,
    progress: Progress | None = None,
) -> CompressedModel:
    """Compress a network, or a mapping of arrays, from its weights alone.

    ratio           dense bytes (4 for every float parameter of the input) over the bytes of the file; met from below within 1 %
    size            bytes of the file, a number or e.g. "2MB" (10^6)
    sparsity, bits  a share of zeros over all layers together, and K = 2^(bits - 1) - 1 levels for each
    bits            alone: quantize only; exact zeros stay zero and nonzeros stay nonzero
    dense           "auto" rounds the scales and biases of Conv and Linear nodes to float16, in the result as in its file,
                    "float16" and "bfloat16" all float32 tensors that are not quantized, "float32" none. A tensor that would
                    lose more than the rounding to 11 or 8 bits (values beyond 65504, most below 6e-5) stays as it is.
    rounding        for a ratio or size. "rate": codes with the least squared error + lambda * bits, each at most one level away
                    from the nearest, at the lambda that the allocation itself trades at. "nearest": the nearest codes, as with
                    sparsity and bits, which say by themselves what is zero and know no price of a bit.
    repair          correct scales and biases of the layers for what quantization does to their outputs, from the statistics of
                    the network's BatchNorms (`opq.repair`): nothing happens where it has none
    progress        called with a line of text at every stage

    The weights of Conv and Linear nodes are quantized; of a mapping, the float arrays of two or more dimensions. All else
    stays dense, and so do layers with fewer than two weights per channel. Weights followed by BatchNorm are quantized as
    they are, others after division by their channels' root mean squares. Dense arrays of other float types become float32;
    the file stores every float32 tensor in 16 bits if those hold it exactly.

    Raises BudgetError for a budget that is contradictory or not reachable (with the reachable range), ValueError for weights
    that are NaN or infinite, naming the tensor, and for an unknown `dense` or `rounding`.
    """
    say = progress if progress is not None else lambda line: None
    if rounding not in get_args(Rounding):
        raise ValueError(f'rounding {rounding!r} is unknown: expected "nearest" or "rate"')
    check_dense(dense)
    graph, tensors, dense_bytes = _contents(model)
    budget = parse_budget(dense_bytes, sparsity=sparsity, bits=bits, size=size, ratio=ratio)
    candidates = _network_layers(graph, tensors) if graph is not None else _mapping_layers(tensors)
    if not candidates:
        raise UnsupportedError(
            "nothing to compress: no Conv, Gemm or MatMul weight, and no float array of two or more dimensions"
        )
    say(f"measuring {len(candidates)} layers")
    weights = {name: as_weights(name, tensors[name]) for name in candidates}
    layers = [measure(name, weights[name], 0, scaling, budget.sparsity is not None) for name, scaling in candidates.items()]
    given = {
        "sparsity": budget.sparsity,
        "bits": budget.bits,
        "ratio": None if ratio is None else float(ratio),
        "bytes": None if size is None else budget.bytes,
    }
    told = {key: value for key, value in given.items() if value is not None}

    repairs = Repairs(model) if repair and isinstance(model, Model) and model.moments else None

    def finish(quantized: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
        repaired, done = (quantized, {}) if repairs is None else repairs.apply(quantized)
        return round_dense(graph, repaired, dense), done

    problem = Problem(graph, tensors, weights, layers, dense_bytes, told, rounding, say, finish)
    if budget.bytes is not None:
        return fit(problem, budget.bytes)
    say("quantizing")
    allocation = stagewise(layers, budget)
    result = problem.model(allocation, [layer.predicted_bytes for layer in allocation])
    result.encode(Ticker(say, "encoding"))
    say(f"encoded: {result.file_bytes:,} bytes")
    return result


def _contents(model: Model | Mapping[str, npt.ArrayLike]) -> tuple[Graph | None, dict[str, npt.NDArray[Any]], int]:
    """Graph, tensors as arrays the file can hold, and dense bytes."""
    if isinstance(model, Model):
        check(model.graph, model.tensors)
        for name, tensor in model.tensors.items():
            if tensor.dtype == np.float32 and tensor.size:
                as_weights(name, tensor)
        return model.graph, dict(model.tensors), model.dense_bytes
    if not isinstance(model, Mapping):
        raise TypeError(f"compress takes an opq.Model or a mapping of arrays, not {type(model).__name__}")
    tensors = {}
    for name, value in model.items():
        if not isinstance(name, str):
            raise TypeError(f"the name {name!r} of an array is not a string")
        array = np.asarray(value)
        if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
            shape = array.shape
            array = as_weights(name, array).reshape(shape) if array.size else array.astype(np.float32)
        elif array.dtype.kind in "iub" and np.can_cast(array.dtype, np.int64):
            array = array.astype(np.int32 if np.can_cast(array.dtype, np.int32) else np.int64)
        else:
            raise UnsupportedError(f"tensor {name!r}: an .opq file has no element type for {array.dtype}")
        tensors[name] = array
    return None, tensors, 4 * sum(t.size for t in tensors.values() if t.dtype == np.float32)


def _network_layers(graph: Graph, tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, ChannelScale]:
    """The weights to quantize: read by Conv and Linear nodes, as their weight, and by nothing else."""
    result: dict[str, ChannelScale] = {}
    others = {value.name for value in graph.outputs}
    for node in graph.nodes:
        is_layer = node.op in ("Conv", "Linear")
        others.update(name for i, name in enumerate(node.inputs) if not (is_layer and i == 1))
        if is_layer:
            name = node.inputs[1]
            has_scale = len(node.inputs) > 2 and bool(node.inputs[2])
            result[name] = "none" if has_scale and result.get(name, "none") == "none" else "rms"
    return {name: scaling for name, scaling in result.items() if name not in others and _gains(tensors[name], scaling)}


def _mapping_layers(tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, ChannelScale]:
    return {
        name: "rms"
        for name, array in tensors.items()
        if array.ndim >= 2 and array.dtype == np.float32 and array.size and _gains(array, "rms")
    }


def _gains(array: npt.NDArray[Any], scaling: ChannelScale) -> bool:
    """A channel scale costs as much as a weight in 16 bits: with fewer than two weights per channel nothing is gained."""
    return scaling == "none" or array.size >= 2 * array.shape[0]
