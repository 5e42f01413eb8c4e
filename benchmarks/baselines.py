"""The usual ways to prune and quantize, coded as opq's own files are: equal bytes compare allocations and quantizers only.

All of them quantize with a step of max|w| / K, K = 2^(bits - 1) - 1, to the nearest integers, zero included:

* one threshold per layer, with the same share of zeros in each, and one step per layer;
* one threshold for the whole network (global magnitude pruning), and one step per layer;
* no pruning, and one step per output channel, as integer inference engines have it.

The first two have a free parameter beside the share of zeros, the bits. They hand in all of BITS that reach the target; the
caller keeps the one that does best on its photographs, which opq never sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

import opq
from benchmarks.candidates import (
    TOLERANCE,
    Candidate,
    Float32,
    Solution,
    Subject,
    as_candidate,
    coded,
    layer_weights,
    search,
    timed,
)
from opq.reference.half_precision import round_to

BITS = (4, 5, 6, 7, 8)

Thresholds = Callable[[float], dict[str, float]]  # share of zeros -> threshold on |w| by layer
Pruning = Callable[[Mapping[str, Float32]], Thresholds]
Quantized = Callable[[float], dict[str, opq.QuantizedTensor]]  # share of zeros -> layers


def uniform_thresholds(weights: Mapping[str, Float32]) -> Thresholds:
    """The same share of zeros in every layer."""
    ordered = {name: np.sort(np.abs(w), axis=None) for name, w in weights.items()}
    return lambda share: {name: _threshold(m, share) for name, m in ordered.items()}


def global_thresholds(weights: Mapping[str, Float32]) -> Thresholds:
    """One threshold over all layers."""
    ordered = np.sort(np.concatenate([np.abs(w).ravel() for w in weights.values()]))
    return lambda share: dict.fromkeys(weights, _threshold(ordered, share))


def _threshold(ordered: Float32, share: float) -> float:
    """The largest magnitude that is pruned; below all where none is."""
    count = int(share * ordered.size)
    return float(ordered[count - 1]) if count else -1.0


def per_layer_max_abs(pruning: Pruning, subject: Subject, target: float) -> list[Solution]:
    """Pruned by thresholds and quantized by layer, at every number of bits that reaches `target` bytes."""
    weights = layer_weights(subject.model)
    thresholds = pruning(weights)
    solutions: list[Solution] = []
    for bits in reversed(BITS):
        quantized = partial(_layers, weights, thresholds, 2 ** (bits - 1) - 1)
        if solutions and _file_bytes(subject.model, quantized, 0.0) < (1.0 - TOLERANCE) * target:
            break  # with fewer bits, files only get smaller
        solutions.append(timed(f"{bits} bits", partial(_fitted, subject.model, quantized, target)))
    return solutions


def _fitted(model: opq.Model, quantized: Quantized, target: float) -> Callable[[bool], Candidate]:
    tensors = quantized(search(partial(_file_bytes, model, quantized), target))
    return lambda repaired: as_candidate(coded(model, tensors, repaired))


def _file_bytes(model: opq.Model, quantized: Quantized, share: float) -> int:
    return coded(model, quantized(share), repaired=False).file_bytes


def _layers(
    weights: Mapping[str, Float32], thresholds: Thresholds, levels: int, share: float
) -> dict[str, opq.QuantizedTensor]:
    limits = thresholds(share)
    return {name: _layer(w, limits[name], levels) for name, w in weights.items()}


def _layer(weights: Float32, threshold: float, levels: int) -> opq.QuantizedTensor:
    step = np.float32(np.abs(weights).max() / levels)
    codes = np.rint(weights / step) if step > 0.0 else np.zeros_like(weights)
    codes[np.abs(weights) <= threshold] = 0.0
    return opq.QuantizedTensor(np.clip(codes, -levels, levels).astype(np.int8), float(step), levels)


def per_channel_max_abs(bits: int, subject: Subject, target: float) -> list[Solution]:
    """Quantized by output channel, nothing pruned; the bytes are what they are, whatever the target."""
    levels = 2 ** (bits - 1) - 1

    def solve() -> Callable[[bool], Candidate]:
        tensors = {name: _channels(w, levels) for name, w in layer_weights(subject.model).items()}
        return lambda repaired: as_candidate(coded(subject.model, tensors, repaired))

    return [timed(f"{bits} bits", solve)]


def _channels(weights: Float32, levels: int) -> opq.QuantizedTensor:
    """The steps become the scales of a step of 1, rounded to bfloat16 as opq's own scales are."""
    steps = round_to((np.abs(weights).reshape(len(weights), -1).max(axis=1) / levels).astype(np.float32), "bfloat16")
    steps[steps == 0.0] = 1.0
    codes = np.rint(weights / steps.reshape(-1, *(1,) * (weights.ndim - 1)))
    return opq.QuantizedTensor(np.clip(codes, -levels, levels).astype(np.int8), 1.0, levels, steps, 0)


def compressed(subject: Subject, target: float, **options: Any) -> list[Solution]:
    """opq itself, with options of `opq.compress`: another weighting of the layers allocates the same quantizer otherwise."""

    def finish(repaired: bool) -> Candidate:
        return as_candidate(opq.compress(subject.model, size=target, repair=repaired, **options))

    return [Solution("", 0.0, finish)]


uniform_sparsity = partial(per_layer_max_abs, uniform_thresholds)
global_magnitude = partial(per_layer_max_abs, global_thresholds)
