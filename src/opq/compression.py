"""The whole path: weights and a budget -> allocation -> codes -> a compressed model that meets the budget."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from opq.activation_ranges import Calibration, check_calibration, ranges_from_data, ranges_from_moments, stand_ins
from opq.budget import Budget, Size
from opq.compressed import CompressedModel
from opq.costs import output_pixels
from opq.errors import UnsupportedError
from opq.fine_tuned import fine_tuned
from opq.fitting import Problem, Progress, Ticker, fit
from opq.fixed_compression import FixedCompression
from opq.graph import Graph
from opq.joint import JointProblem
from opq.model import Model
from opq.problem import Distribution, bytes_problem, check_distribution, costs_of, fixed_codebooks, needs_histogram
from opq.quantization import ChannelScale, Rounding
from opq.reference.checking import check
from opq.reference.ranges_section import Range
from opq.reference.tensor_section import Tensor
from opq.repair import Repairs
from opq.rounding import DenseTensors, round_dense
from opq.sensitivity import sensitivities
from opq.settings import Settings
from opq.statistics import measure
from opq.weighting import Weighting, check_weighting
from opq.weights import as_weights


def compress(
    model: Model | Mapping[str, npt.ArrayLike],
    *,
    ratio: float | None = None,
    size: Size | None = None,
    sparsity: float | None = None,
    macs: float | None = None,
    bits: int | None = None,
    mean_bits: float | None = None,
    weighting: Weighting | Literal["sensitivity"] = "nsr",
    distribution: Distribution = "auto",
    layer_weight: Mapping[str, float] | None = None,
    skip: Collection[str] = (),
    channel_scale: Literal["auto", "rms", "none"] = "auto",
    dense: DenseTensors = "auto",
    rounding: Rounding | Literal["auto"] = "auto",
    repair: bool = True,
    calibration: Calibration | None = None,
    fixed: FixedCompression | None = None,
    weights: Mapping[str, npt.ArrayLike] | None = None,
    progress: Progress | None = None,
) -> CompressedModel:
    """Compress a network, or a mapping of arrays, from its weights alone.

    ratio           dense bytes (4 for every float parameter of the input) over the bytes of the file; met from below within 1 %
    size            bytes of the file, a number or e.g. "2MB" (10^6)
    bits            K = 2^(bits - 1) - 1 levels for every layer; without sparsity or macs, exact zeros stay zero and nonzeros
                    stay nonzero
    mean_bits       the same, 2 to 8 bits per layer, chosen so that their mean over the survivors is this
    sparsity        before one of these: a share of zeros over all layers together
    macs            before one of these: a share of the multiply-adds to keep
    weighting, layer_weight
                    what a layer's error counts, as for `opq.allocate`. "sensitivity" is "nsr" times the root of what a layer's
                    noise does to the outputs, measured on images of noise (`opq.sensitivity`)
    distribution    what thresholds and steps are optimal for, as for `opq.allocate`
    skip            names of weights that stay dense
    channel_scale   "rms": the channels are divided by their root mean squares, which the file holds; "none": they are not;
                    "auto": "rms", but "none" where a BatchNorm follows, whose scale serves, unless the budget allows codes
                    finer than the 8 bits that they have
    dense           "auto" rounds the scales and biases of Conv and Linear nodes to float16, in the result as in its file,
                    "float16" and "bfloat16" all float32 tensors that are not quantized, "float32" none. A tensor that would
                    lose more than the rounding to 11 or 8 bits (values beyond 65504, most below 6e-5) stays as it is.
    rounding        for a ratio or size. "rate": codes with the least squared error + lambda * bits, each at most one level away
                    from the nearest, at the lambda that the allocation itself trades at. "nearest": the nearest codes, as with
                    bits and mean_bits, which know no price of a bit. "auto": "rate" for a network with layers that `repair`
                    corrects, else "nearest": codes that save bits lean toward zero, which is what the corrections undo
    repair          correct scales and biases of the layers for what quantization does to their outputs, from the statistics of
                    the network's BatchNorms (`opq.repair`): nothing happens where it has none
    calibration     inputs for a network, a mapping of names to arrays or several of them, from which the ranges of the
                    compressed network's activations are taken: what sessions of precision "int8" and "int16" hold them on
                    (docs/integers.md). Without it they follow from BatchNorm's statistics, as far as the network has them
    fixed           instead of a budget: masks and codebooks that were decided before (docs/finetuning.md). The model's weights
                    take the nearest codewords; nothing is repaired, as scales and biases have been trained with the codes. Of
                    the settings above only dense and calibration may be given beside it
    weights         with `fixed`: trained tensors by name, in place of those of the model
    progress        called with a line of text at every stage

    The weights of Conv and Linear nodes are quantized; of a mapping, the float arrays of two or more dimensions. All else
    stays dense, and so do layers with fewer than two weights per channel. Dense arrays of other float types become float32; the
    file stores every float32 tensor in 16 bits if those hold it exactly.

    Raises BudgetError for a budget that is contradictory or not reachable (with the reachable range), ValueError for weights
    that are NaN or infinite, naming the tensor, and for unknown words and names, UnsupportedError for `macs` and "sensitivity"
    where the size of the images is not known.
    """
    say = progress if progress is not None else lambda line: None
    settings = Settings(
        ratio=ratio, size=size, sparsity=sparsity, macs=macs, bits=bits, mean_bits=mean_bits, weighting=weighting,
        distribution=distribution, layer_weight=layer_weight or None, skip=tuple(skip), channel_scale=channel_scale,
        dense=dense, rounding=rounding, repair=repair, calibration=calibration,
    )  # fmt: skip
    if fixed is not None:
        settings.check_fixed()
        result = fine_tuned(*_contents(model), fixed, {} if weights is None else weights, dense)
        trained = replace(model, tensors=result.dense_tensors()) if isinstance(model, Model) else model
        result = replace(result, ranges=_ranges(trained, calibration))
        result.encode(Ticker(say, "encoding"))
        say(f"encoded: {result.file_bytes:,} bytes")
        return _calibrated(result, calibration, say)
    if weights is not None:
        raise ValueError("weights are trained tensors for masks and codebooks that are fixed: give fixed as well")
    problem, budget = set_up(model, settings, say)
    factors = dict(layer_weight or {})
    names = [layer.name for layer in problem.layers]
    if weighting == "sensitivity":
        if not isinstance(model, Model):
            raise ValueError('weighting "sensitivity" needs a network, not a mapping of arrays')
        say(f"measuring the sensitivity of {len(names)} layers")
        check_weighting("nsr", factors, names)
        for name, value in sensitivities(model, names).items():
            factors[name] = factors.get(name, 1.0) * math.sqrt(value)
        weighting = "nsr"
    check_weighting(weighting, factors, names)
    pixels = output_pixels(model) if budget.macs is not None and isinstance(model, Model) else {}
    costs = costs_of(problem.layers, budget, pixels)
    if budget.bytes is not None:
        search = bytes_problem(problem.layers, budget, weighting, factors, costs, distribution)
        if channel_scale == "auto" and isinstance(search, JointProblem):
            problem = _scale_channels(problem, search.held(search.nearest(budget.bytes)))
            search = bytes_problem(problem.layers, budget, weighting, factors, costs, distribution)
        return _calibrated(fit(problem, search, budget.bytes), calibration, say)
    say("quantizing")
    allocation = fixed_codebooks(problem.layers, budget, weighting, factors, costs, distribution)
    result = problem.model(allocation, [layer.predicted_bytes for layer in allocation])
    result.encode(Ticker(say, "encoding"))
    say(f"encoded: {result.file_bytes:,} bytes")
    return _calibrated(result, calibration, say)


def set_up(model: Model | Mapping[str, npt.ArrayLike], settings: Settings, progress: Progress) -> tuple[Problem, Budget]:
    """What `compress` solves: the layers, measured, and the budget. Errors are those of `compress`."""
    graph, tensors, dense_bytes = _contents(model)
    budget = settings.budget(dense_bytes)
    check_distribution(settings.distribution, budget)
    candidates = _network_layers(graph, tensors) if graph is not None else _mapping_layers(tensors)
    unknown = next((name for name in settings.skip if name not in candidates), None)
    if unknown is not None:
        raise ValueError(f"skip names {unknown!r}, which is no layer that would be compressed")
    if settings.channel_scale != "auto":
        candidates = dict.fromkeys(candidates, settings.channel_scale)
    candidates = {name: scaling for name, scaling in candidates.items() if name not in settings.skip}
    if not candidates:
        raise UnsupportedError(
            "nothing to compress: no Conv, Gemm or MatMul weight, and no float array of two or more dimensions"
        )
    progress(f"measuring {len(candidates)} layers")
    weights = {name: as_weights(name, tensors[name]) for name in candidates}
    histogram = needs_histogram(settings.distribution, budget)
    layers = [measure(name, weights[name], 0, scaling, histogram) for name, scaling in candidates.items()]
    repairs = Repairs(model) if settings.repair and isinstance(model, Model) and model.moments else None
    rounding = settings.rounding
    if rounding == "auto":
        rounding = "nearest" if repairs is None or repairs.empty else "rate"
    ranges = _ranges(model, settings.calibration)

    def finish(quantized: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
        repaired, done = (quantized, {}) if repairs is None else repairs.apply(quantized)
        return round_dense(graph, repaired, settings.dense), done

    told = settings.told_budget(budget)
    return Problem(graph, tensors, weights, layers, dense_bytes, told, ranges, rounding, progress, finish), budget


def _ranges(model: Model | Mapping[str, npt.ArrayLike], calibration: Calibration | None) -> dict[str, Range]:
    """Of the activations; with calibration, what takes the place of those that `_calibrated` finds."""
    if calibration is not None:
        if not isinstance(model, Model):
            raise ValueError("calibration needs a network, not a mapping of arrays")
        check_calibration(model.graph, calibration)
        return stand_ins(model.graph)
    return ranges_from_moments(model) if isinstance(model, Model) else {}


def _calibrated(result: CompressedModel, calibration: Calibration | None, progress: Progress) -> CompressedModel:
    """With the ranges of its values on these inputs, if there are any."""
    if calibration is None:
        return result
    progress("running the compressed network for the ranges of its activations")
    return result.with_ranges(ranges_from_data(result, calibration))


def _scale_channels(problem: Problem, held: Sequence[bool]) -> Problem:
    """With channel scales for the layers that are `held` by the range of int8 codes: they make outliers of channels rarer."""
    layers = [
        measure(layer.name, problem.weights[layer.name], layer.axis, "rms", layer.tail is not None) if more else layer
        for layer, more in zip(problem.layers, held, strict=True)
    ]
    return replace(problem, layers=layers)


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
