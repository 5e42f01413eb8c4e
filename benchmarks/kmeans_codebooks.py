"""The k-means codebooks of Deep Compression (https://arxiv.org/abs/1510.00149), without its fine-tuning.

Weights are pruned by magnitude; the survivors of a layer share 2^bits centroids, placed by Lloyd's algorithm from centroids
spread evenly between the smallest and the largest survivor, which is what the paper found best. Lloyd runs on a histogram until
nothing moves.

Files hold for every layer the indices of the centroids, by opq's entropy coder, and 4 bytes for every centroid in use. Index 0
is the pruned weight, -1, -2, ... are the negative centroids and 1, 2, ... the others, smallest magnitudes first: in this order
the coder finds what it finds in integer codes. All else is as in opq's files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, log2

import numpy as np
import numpy.typing as npt

import opq
from benchmarks.baselines import Pruning, Thresholds, global_thresholds, uniform_thresholds
from benchmarks.candidates import (
    TOLERANCE,
    Candidate,
    Float32,
    Solution,
    Subject,
    finished_tensors,
    layer_weights,
    search,
    timed,
)
from opq.quantization import MAX_LEVELS

BITS = (3, 4, 5, 6, 8)
PRUNINGS: dict[str, Pruning] = {"uniform": uniform_thresholds, "global": global_thresholds}

_BINS, _ITERATIONS = 4096, 200


@dataclass(frozen=True, eq=False)
class Layer:
    """indices: int16, the weights' shape. centroids: float32, by rank; `zero` is the rank that index 0 would have."""

    indices: npt.NDArray[np.int16]
    centroids: Float32
    zero: int

    def file_bytes(self) -> int:
        """Coded indices, and the centroids."""
        return len(opq.codec.encode(self.indices, threads=2)) + self.centroids.nbytes

    def values(self) -> Float32:
        """The weights as the file gives them back."""
        table = np.insert(self.centroids, self.zero, np.float32(0.0))
        return table[self.indices + self.zero]


def kmeans(subject: Subject, target: float) -> list[Solution]:
    """Both ways to prune, and all numbers of centroids that reach `target` bytes."""
    weights = layer_weights(subject.model)
    others = {name: tensor for name, tensor in finished_tensors(subject.model, {}, False).items() if name not in weights}
    besides = opq.CompressedModel(subject.model.graph, others).file_bytes
    solutions: list[Solution] = []
    for pruning, thresholds in PRUNINGS.items():
        by_share = thresholds(weights)
        for bits in reversed(BITS):
            solve = partial(_solve, subject.model, weights, by_share, 1 << bits, besides, target)
            if bits < BITS[-1] and besides + _bytes(weights, by_share, 1 << bits, 0.0) < (1.0 - TOLERANCE) * target:
                break  # with fewer centroids, files only get smaller
            solutions.append(timed(f"{bits} bits, {pruning} pruning", solve))
    return solutions


def _solve(
    model: opq.Model, weights: Mapping[str, Float32], by_share: Thresholds, count: int, besides: int, target: float
) -> Callable[[bool], Candidate]:
    share = search(lambda share: besides + _bytes(weights, by_share, count, share), target)
    layers = _layers(weights, by_share(share), count)
    size = besides + sum(layer.file_bytes() for layer in layers.values())
    return lambda repaired: _candidate(model, layers, size, repaired)


def _bytes(weights: Mapping[str, Float32], by_share: Thresholds, count: int, share: float) -> int:
    return sum(layer.file_bytes() for layer in _layers(weights, by_share(share), count).values())


def _layers(weights: Mapping[str, Float32], thresholds: Mapping[str, float], count: int) -> dict[str, Layer]:
    return {name: cluster(w, thresholds[name], count) for name, w in weights.items()}


def _candidate(model: opq.Model, layers: Mapping[str, Layer], size: int, repaired: bool) -> Candidate:
    # The repairs read code * step; here the values themselves stand for the codes.
    stand_ins = {name: opq.QuantizedTensor(layer.values(), 1.0, MAX_LEVELS) for name, layer in layers.items()}
    tensors = {
        name: tensor.codes if isinstance(tensor, opq.QuantizedTensor) else tensor
        for name, tensor in finished_tensors(model, stand_ins, repaired).items()
    }
    survivors = {name: int(np.count_nonzero(layer.indices)) for name, layer in layers.items()}
    weights = sum(layer.indices.size for layer in layers.values())
    bits = sum(survivors[name] * ceil(log2(max(2, layer.centroids.size))) for name, layer in layers.items())
    sparsity = 1.0 - sum(survivors.values()) / weights
    return Candidate(replace(model, tensors=tensors), size, sparsity, 32.0 * weights / bits if bits else None)


def cluster(weights: Float32, threshold: float, count: int) -> Layer:
    """One layer: weights of at most `threshold` in magnitude are pruned, the others share at most `count` centroids."""
    keep = np.abs(weights) > threshold
    survivors = weights[keep]
    if survivors.size == 0:
        return Layer(np.zeros(weights.shape, dtype=np.int16), np.zeros(0, dtype=np.float32), 0)
    centroids = lloyd(survivors, count)
    zero = int(np.searchsorted(centroids, 0.0))
    rank = np.searchsorted((centroids[1:] + centroids[:-1]) / 2.0, survivors)
    indices = np.zeros(weights.shape, dtype=np.int16)
    indices[keep] = np.where(rank < zero, rank - zero, rank - zero + 1)
    return Layer(indices, centroids.astype(np.float32), zero)


def lloyd(values: Float32, count: int) -> npt.NDArray[np.float64]:
    """At most `count` centroids of `values`, ascending; those without a value are left out."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.array([low])
    bins = np.minimum(((values - low) * (_BINS / (high - low))).astype(np.int64), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS).astype(np.float64)
    sums = np.bincount(bins, weights=values, minlength=_BINS)
    filled = counts > 0.0
    means = sums[filled] / counts[filled]
    up_to = np.concatenate([[0.0], np.cumsum(counts[filled])]), np.concatenate([[0.0], np.cumsum(sums[filled])])
    centroids = np.linspace(low, high, count)
    for _ in range(_ITERATIONS):
        edges = np.searchsorted(means, (centroids[1:] + centroids[:-1]) / 2.0)
        edges = np.concatenate([[0], edges, [means.size]])
        members, total = (np.diff(c[edges]) for c in up_to)
        moved = np.where(members > 0.0, total / np.maximum(members, 1.0), centroids)
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids[members > 0.0]
