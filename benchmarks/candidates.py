"""What the methods of fidelity.py hand in: compressed networks with their bytes, and the search for one of a wanted size."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import opq
from opq.reference.tensor_section import Tensor
from opq.repair import repair
from opq.rounding import round_dense

Float32 = npt.NDArray[np.float32]

# A baseline's file is this near below its target; other files do better by a few parts in a thousand at most.
TOLERANCE = 0.03
_ATTEMPTS = 12


@dataclass(frozen=True, eq=False)
class Subject:
    """The network to compress: as opq has read it, as ONNX, and inputs for methods that calibrate."""

    model: opq.Model
    path: Path
    calibration: Float32


@dataclass(frozen=True, eq=False)
class Candidate:
    """A compressed network.

    runnable    what computes its outputs: for a session of opq, or the bytes of an ONNX file for ONNX Runtime
    file_bytes  everything included
    sparsity    share of zeros among the weights of convolutions and matrices; None where it is not known, as the two rates
    """

    runnable: opq.CompressedModel | opq.Model | bytes
    file_bytes: int
    sparsity: float | None = None
    paper_rate: float | None = None
    packed_rate: float | None = None


@dataclass(frozen=True, eq=False)
class Solution:
    """A setting of a method that meets the budget, what it took to find, and the network it makes, with repairs or without."""

    setting: str
    seconds: float
    finish: Callable[[bool], Candidate]


def layer_weights(model: opq.Model) -> dict[str, Float32]:
    """The weights of all Conv and Linear nodes, in the order of the graph."""
    return {node.inputs[1]: model.tensors[node.inputs[1]] for node in model.graph.nodes if node.op in ("Conv", "Linear")}


def finished_tensors(model: opq.Model, quantized: Mapping[str, opq.QuantizedTensor], repaired: bool) -> dict[str, Tensor]:
    """All tensors of a compressed network, `quantized` among them: scales and biases repaired if wanted, and in 16 bits."""
    tensors: dict[str, Tensor] = {**model.tensors, **quantized}
    if repaired:
        tensors, _ = repair(model, tensors)
    return round_dense(model.graph, tensors, "auto")


def coded(model: opq.Model, quantized: Mapping[str, opq.QuantizedTensor], repaired: bool) -> opq.CompressedModel:
    """The network as an `.opq` file holds it."""
    tensors = finished_tensors(model, quantized, repaired)
    return opq.CompressedModel(model.graph, tensors, {"dense_bytes": model.dense_bytes})


def as_candidate(model: opq.CompressedModel) -> Candidate:
    """A network in opq's own format, with the figures of its report."""
    totals = model.report["totals"]
    return Candidate(model, model.file_bytes, totals["sparsity"], totals["paper_rate"], totals["packed_rate"])


def search(file_bytes: Callable[[float], int], target: float) -> float:
    """The share of zeros for which a file has `target` bytes, from below within the tolerance.

    Where even the file without pruning is smaller, the result is 0. False position on log bytes, bisection where that stalls.
    """
    low, high = 0.0, 0.999
    size_low, size_high = file_bytes(low), file_bytes(high)
    if size_low <= target:
        return low
    for attempt in range(_ATTEMPTS):
        share = math.log(size_low / ((1.0 - TOLERANCE / 2.0) * target)) / math.log(size_low / size_high)
        guess = (low + high) / 2.0 if attempt % 3 == 2 else low + min(max(share, 0.02), 0.98) * (high - low)
        size = file_bytes(guess)
        if size > target:
            low, size_low = guess, size
        else:
            high, size_high = guess, size
            if size >= (1.0 - TOLERANCE) * target:
                break
    return high


def timed(setting: str, solve: Callable[[], Callable[[bool], Candidate]]) -> Solution:
    """What `solve` finds, with the time that it takes."""
    start = time.perf_counter()
    finish = solve()
    return Solution(setting, time.perf_counter() - start, finish)
