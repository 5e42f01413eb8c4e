"""From an allocation to a compressed model, and the search for the one whose file has the wanted size."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from opq.bytes_problem import Array, BytesProblem
from opq.codes import estimated_bytes, quantize, relative_error
from opq.compressed import CompressedModel, from_bytes
from opq.errors import BudgetError
from opq.graph import Graph
from opq.layer_allocation import LayerAllocation
from opq.quantization import Float32, QuantizedTensor, Rounding
from opq.reference.ranges_section import Range
from opq.reference.tensor_section import Tensor
from opq.statistics import LayerStatistics

Progress = Callable[[str], None]
Finish = Callable[[Mapping[str, Tensor]], tuple[dict[str, Tensor], dict[str, str]]]

# A size is met from below within this share, and aimed at a little inside it. Twelve files are enough for a network whose size
# moves in steps; others take one or two.
_TOLERANCE, _AIM, _ENCODINGS = 0.01, 0.996, 12
# Estimates of a size are off by up to 0.2 %: codes whose size is estimated to be this close to the aim are worth a file.
_CLOSE, _ESTIMATES = 0.003, 2
_TICK = 2.0  # seconds


@dataclass(frozen=True, eq=False)
class Problem:
    """What is compressed, and what the report says of it: all but the allocation.

    weights      float32, by name: the layers that are quantized
    layers       their statistics
    tensors      by name, all that the file holds, the layers among them
    dense_bytes  4 for every float parameter of the input
    budget       what was asked for, as the report tells it
    ranges       of activations, which the file holds
    finish       what is done to the tensors after quantization: it returns them, and by layer what repaired it or not
    """

    graph: Graph | None
    tensors: Mapping[str, npt.NDArray[Any]]
    weights: Mapping[str, Float32]
    layers: Sequence[LayerStatistics]
    dense_bytes: int
    budget: Mapping[str, float]
    ranges: Mapping[str, Range]
    rounding: Rounding
    say: Progress
    finish: Finish

    def quantize(self, layers: Sequence[LayerAllocation]) -> dict[str, QuantizedTensor]:
        """The codes, by layer."""
        return {layer.name: quantize(self.weights[layer.name], layer, rounding=self.rounding) for layer in layers}

    def model(
        self,
        layers: Sequence[LayerAllocation],
        predicted_bytes: Iterable[float],
        quantized: Mapping[str, QuantizedTensor] | None = None,
    ) -> CompressedModel:
        """The compressed model, with the errors that its codes really have.

        predicted_bytes  per layer
        quantized        the layers' codes, where they have been chosen before
        """
        quantized = self.quantize(layers) if quantized is None else quantized
        details: dict[str, dict[str, float | str]] = {}
        for layer, predicted in zip(layers, predicted_bytes, strict=True):
            tensor = quantized[layer.name]
            # The mask follows no threshold where codes are weighed one by one.
            threshold = {} if self.rounding == "rate" and layer.multiplier > 0.0 else {"threshold": layer.threshold}
            values = {
                **threshold,
                "predicted_bits": 8.0 * predicted / tensor.size,
                "predicted_error": layer.distortion,
                "real_error": relative_error(self.weights[layer.name], tensor),
            }
            details[layer.name] = {key: float(f"{value:.4g}") for key, value in values.items()}
        tensors: dict[str, Tensor] = {name: quantized.get(name, tensor) for name, tensor in self.tensors.items()}
        tensors, repairs = self.finish(tensors)
        for name, what in repairs.items():
            details[name]["repair"] = what
        report = {"dense_bytes": self.dense_bytes, "budget": self.budget, "layers": details}
        return CompressedModel(self.graph, tensors, report, self.ranges)

    def bytes_besides(self) -> int:
        """About the bytes of a file that do not depend on the allocation: all but codes and their channels' scales."""
        tensors, _ = self.finish({name: tensor for name, tensor in self.tensors.items() if name not in self.weights})
        # Each layer's line in the directory and in the report, and a byte for its codes.
        line = dict.fromkeys(("threshold", "predicted_bits", "predicted_error", "real_error"), 0.01234)
        for name, weights in self.weights.items():
            tensors[name] = QuantizedTensor(np.zeros((1,) * weights.ndim, dtype=np.int8), 1.0, 1)
        report = {"dense_bytes": self.dense_bytes, "budget": self.budget, "layers": dict.fromkeys(self.weights, line)}
        return CompressedModel(self.graph, tensors, report, self.ranges).file_bytes


def fit(problem: Problem, search: BytesProblem, target: float) -> CompressedModel:
    """The finest compressed model whose file has at most `target` bytes, and at least 99 % of them.

    Bytes fall with log lambda. `_first_codes` come so close that their file mostly is the result. Corrected by the bytes that
    the layers take in it, the rate model gives the second. The line through the last two files, of log bytes over log lambda,
    gives all others. Bisection takes over where that leaves the bracket. The size of a small network moves in steps: there the
    best file below the target may have less. Raises BudgetError, with the reachable range.
    """
    finest, coarsest = too_large, fits = search.range()
    model: CompressedModel | None = None
    best = b""  # the largest file so far that fits
    besides = problem.bytes_besides()
    guess, predicted, quantized = _first_codes(problem, search, target, besides)
    points: list[tuple[float, float]] = []  # log lambda, log bytes
    for encoding in range(1, _ENCODINGS + 1):
        if encoding > 1:
            guess = search.nearest(_AIM * target - besides) if encoding == 2 else _on_the_line(points, math.log(_AIM * target))
            if not too_large < guess < fits:
                guess = (too_large + fits) / 2.0
            model = quantized = None  # their memory is for the next ones
            predicted = search.layer_bytes(guess)
        model = problem.model(search.allocate(guess), predicted, quantized)
        model.encode(Ticker(problem.say, f"encoding {encoding}"))
        size = model.file_bytes
        problem.say(f"encoding {encoding}: {size:,} bytes, {100.0 * size / target:.1f} % of the target")
        points.append((guess, math.log(size)))
        real = [model.entries[layer.name].bytes for layer in problem.layers]
        search.correct(guess, real)
        besides = size - sum(real)
        if size <= target:
            fits = guess
            best = model.to_bytes() if size > len(best) else best
            done = size >= (1.0 - _TOLERANCE) * target or guess <= finest
        else:
            too_large = guess
            done = guess >= coarsest
        if done or fits - too_large < 1e-9:
            break
    if len(best) < (1.0 - 2.0 * _TOLERANCE) * target:
        model = None
        return _at_the_ends(problem, search, target, best)
    return model if model is not None and model.to_bytes() is best else from_bytes(best)


def _first_codes(
    problem: Problem, search: BytesProblem, target: float, besides: float
) -> tuple[float, Array, dict[str, QuantizedTensor] | None]:
    """(log lambda, the bytes of every layer as they were predicted, the codes if they are known) for a file of `target` bytes.

    The rate model's prediction is off by up to 10 %. The codes that it leads to are not encoded: what the coder would need for
    them is estimated, which corrects the prediction, and is exact enough to know codes that are worth a file. After two
    corrections the prediction is as good as the estimate.
    """
    for estimate in range(1, _ESTIMATES + 1):
        guess, quantized = search.nearest(_AIM * target - besides), None
        predicted = search.layer_bytes(guess)
        quantized = problem.quantize(search.allocate(guess))
        estimated = [estimated_bytes(tensor) for tensor in quantized.values()]
        search.correct(guess, estimated)
        size = sum(estimated) + besides
        problem.say(f"estimate {estimate}: {size:,.0f} bytes, {100.0 * size / target:.1f} % of the target")
        if abs(size / target - _AIM) <= _CLOSE:
            return guess, predicted, quantized
    guess = search.nearest(_AIM * target - besides)
    return guess, search.layer_bytes(guess), None


class Ticker:
    """Says how far something has come, every two seconds: nothing where it is done sooner."""

    def __init__(self, say: Progress, what: str) -> None:
        self._say, self._what, self._next = say, what, time.monotonic() + _TICK

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total`."""
        now = time.monotonic()
        if now >= self._next and done < total:
            self._say(f"{self._what}: {100 * done // total} % of the weights")
            self._next = now + _TICK


def _on_the_line(points: Sequence[tuple[float, float]], y: float) -> float:
    """The x where the line through the last two points has this y; not a number where it has none."""
    a, b = points[-2:]
    return a[0] + (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) if a[1] != b[1] else math.nan


def _at_the_ends(problem: Problem, search: BytesProblem, target: float, best: bytes) -> CompressedModel:
    """The model of the file `best` where the size moves in steps around the target; else BudgetError: it is outside of all."""
    large, small = (problem.model(search.allocate(end), search.layer_bytes(end)) for end in search.range())
    largest, smallest = large.file_bytes, small.file_bytes
    if smallest <= target <= largest / (1.0 - 2.0 * _TOLERANCE):
        return from_bytes(best) if best else small
    # Well inside the range, since the text of the budget is part of the file: what is named can be asked for.
    least, most = _three_digits(smallest + 64, math.ceil), _three_digits(largest, math.floor)
    wanted = f"{target:.0f} bytes (ratio {problem.dense_bytes / target:.4g}) cannot be reached: this network's files have"
    if least >= most:  # layers of one magnitude, or so small that all of them take 8 bits
        raise BudgetError(f"{wanted} about {largest} bytes (ratio {problem.dense_bytes / largest:.2f}) whatever is asked for")
    raise BudgetError(
        f"{wanted} {least} to {most} bytes (ratio {problem.dense_bytes / least:.2f} to {problem.dense_bytes / most:.2f})"
    )


def _three_digits(value: int, towards: Callable[[float], int]) -> int:
    unit = int(10 ** max(0, len(str(value)) - 3))
    return towards(value / unit) * unit
