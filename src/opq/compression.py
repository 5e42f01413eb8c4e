"""The whole path: weights and a budget -> allocation -> codes -> a compressed model that meets the budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from opq.allocation import Allocation, JointProblem, LayerAllocation, stagewise
from opq.budget import Size, parse_budget
from opq.compressed import CompressedModel
from opq.errors import BudgetError, UnsupportedError
from opq.graph import Graph
from opq.model import Model
from opq.quantization import ChannelScale, Float32, QuantizedTensor, Rounding, as_weights, magnitudes, quantize
from opq.reference.checking import check
from opq.reference.tensor_section import Tensor
from opq.rounding import DenseTensors, round_dense
from opq.statistics import LayerStatistics, measure

Progress = Callable[[str], None]

# A size is met from below within this share, and aimed at a little inside it; 12 files are enough for a network whose
# size moves in steps.
_TOLERANCE, _AIM, _ATTEMPTS = 0.01, 0.996, 12


def compress(
    model: Model | Mapping[str, npt.ArrayLike],
    *,
    ratio: float | None = None,
    size: Size | None = None,
    sparsity: float | None = None,
    bits: int | None = None,
    dense: DenseTensors = "auto",
    rounding: Rounding = "nearest",
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
    rounding        "nearest", or "rate", for a ratio or size: codes with the least squared error + lambda * bits, each at most
                    one level away from the nearest, at the lambda that the allocation itself trades at
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
    graph, tensors, dense_bytes = _contents(model)
    budget = parse_budget(dense_bytes, sparsity=sparsity, bits=bits, size=size, ratio=ratio)
    candidates = _network_layers(graph, tensors) if graph is not None else _mapping_layers(tensors)
    if not candidates:
        raise UnsupportedError(
            "nothing to compress: no Conv, Gemm or MatMul weight, and no float array of two or more dimensions"
        )
    tensors = round_dense(graph, tensors, candidates, dense)
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
    problem = _Problem(graph, tensors, weights, layers, dense_bytes, told, rounding, say)
    if budget.bytes is None:
        say("quantizing")
        return problem.model(Allocation(stagewise(layers, budget)))
    return problem.fit(budget.bytes)


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


class _Problem:
    """The layers of one compression, and the files that they make under one allocation or another."""

    def __init__(
        self, graph: Graph | None, tensors: Mapping[str, npt.NDArray[Any]], weights: Mapping[str, Float32],
        layers: list[LayerStatistics], dense_bytes: int, budget: Mapping[str, float], rounding: Rounding, say: Progress,
    ) -> None:  # fmt: skip
        self._graph, self._tensors, self._weights = graph, tensors, weights
        self._layers, self._dense_bytes, self._budget, self._say = layers, dense_bytes, budget, say
        self._rounding = rounding

    def _quantize(self, allocation: Allocation) -> dict[str, Tensor]:
        return {
            name: quantize(self._weights[name], allocation[name], rounding=self._rounding) if name in allocation else tensor
            for name, tensor in self._tensors.items()
        }

    def model(self, allocation: Allocation) -> CompressedModel:
        """The compressed model, with the errors that its codes really have."""
        tensors = self._quantize(allocation)
        layers = {}
        for name, layer in allocation.items():
            tensor = tensors[name]
            assert isinstance(tensor, QuantizedTensor)
            values = {
                "threshold": layer.threshold,
                "predicted_bits": layer.bits,
                "predicted_error": layer.distortion,
                "real_error": _relative_error(self._weights[name], tensor, layer),
            }
            layers[name] = {key: float(f"{value:.4g}") for key, value in values.items()}
        details = {"dense_bytes": self._dense_bytes, "budget": self._budget, "layers": layers}
        return CompressedModel(self._graph, tensors, details)

    def fit(self, target: float) -> CompressedModel:
        """The finest compressed model whose file has at most `target` bytes.

        Bytes fall with log lambda. The rate model predicts them within some per cent; its prediction, corrected by the
        ratio of real to predicted bytes of the file before, gives the next log lambda. Bisection takes over where that
        leaves the bracket.
        """
        joint = JointProblem(self._layers)
        finest, coarsest = joint.range()
        lower, upper = joint.predicted_bytes(coarsest), joint.predicted_bytes(finest)
        too_large, fits = finest, coarsest
        best: CompressedModel | None = None
        correction, fixed = 1.0, 0.0
        for attempt in range(_ATTEMPTS):
            wanted = (_AIM * target - fixed) / correction
            guess = coarsest if wanted <= lower else finest if wanted >= upper else joint.solve(wanted)
            if attempt > 0 and not too_large < guess < fits:
                guess = (too_large + fits) / 2.0
            model = self.model(Allocation(joint.allocate(guess)))
            size = len(model.to_bytes())
            self._say(f"attempt {attempt + 1}: {size} bytes for at most {target:.0f}")
            code_bytes = sum(model.entries[layer.name].bytes for layer in self._layers)
            fixed, correction = size - code_bytes, code_bytes / joint.predicted_bytes(guess)
            if size <= target:
                fits = guess
                best = model if best is None or size > len(best.to_bytes()) else best
                done = size >= (1.0 - _TOLERANCE) * target or guess <= finest
            else:
                too_large = guess
                done = guess >= coarsest
            if done or fits - too_large < 1e-9:
                break
        if best is None or len(best.to_bytes()) < 0.98 * target:
            self._check_reachable(joint, target)
        assert best is not None
        return best

    def _check_reachable(self, joint: JointProblem, target: float) -> None:
        """Raises BudgetError when no allocation reaches the target."""
        largest, smallest = (len(self.model(Allocation(joint.allocate(end))).to_bytes()) for end in joint.range())
        if not smallest <= target <= largest / 0.98:
            # Well inside the range, since the text of the budget is part of the file: what is named can be asked for.
            least, most = _three_digits(smallest + 64, math.ceil), _three_digits(largest, math.floor)
            raise BudgetError(
                f"{target:.0f} bytes (ratio {self._dense_bytes / target:.2f}) cannot be reached: this network's files have "
                f"{least} to {most} bytes (ratio {self._dense_bytes / least:.2f} to {self._dense_bytes / most:.2f})"
            )


def _relative_error(weights: Float32, tensor: QuantizedTensor, layer: LayerAllocation) -> float:
    """sum (m - step * |code|)^2 / sum m^2 over the layer's magnitudes m; 0 for a layer of zeros."""
    m = magnitudes(weights, tensor.scale, layer.axis)
    largest = float(m.max())
    if largest == 0.0:
        return 0.0
    m /= np.float32(largest)
    energy = float(np.vdot(m, m))
    m -= np.abs(tensor.codes) * np.float32(tensor.step / largest)
    return float(np.vdot(m, m)) / energy


def _three_digits(value: int, towards: Callable[[float], int]) -> int:
    unit = int(10 ** max(0, len(str(value)) - 3))
    return towards(value / unit) * unit
