"""Size against error over the whole range of budgets, in one sweep.

Every size is one value of log lambda in the joint allocation, so the whole predicted curve costs one pass over the weights. A
few files are really encoded along it, to see what the predictions are worth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from opq.budget import Budget, Size
from opq.bytes_problem import BytesProblem
from opq.compressed import CompressedModel
from opq.compression import compress, set_up
from opq.fitting import Problem, Progress
from opq.layer_allocation import Allocation
from opq.model import Model
from opq.problem import bytes_problem
from opq.quantization import QuantizedTensor
from opq.settings import Settings

_PREDICTED = 40  # points of the curve


@dataclass(frozen=True)
class ParetoPoint:
    """One budget.

    bytes     length of the `.opq` file
    ratio     dense bytes over it
    error     squared error over squared weights of a layer, the mean over the quantized layers
    sparsity  share of zeros of the quantized weights
    """

    bytes: float
    ratio: float
    error: float
    sparsity: float


@dataclass(frozen=True)
class ParetoFront:
    """Points from the largest file to the smallest.

    dense_bytes  4 for every float parameter of the input
    predicted    by the rate model, before anything is quantized
    real         of files that were encoded
    chosen       of the file that `opq.compress` gives for the budget that was asked about, or None
    """

    dense_bytes: int
    predicted: tuple[ParetoPoint, ...]
    real: tuple[ParetoPoint, ...]
    chosen: ParetoPoint | None


def pareto_front(
    model: Model | Mapping[str, npt.ArrayLike],
    *,
    ratio: float | None = None,
    size: Size | None = None,
    files: int = 8,
    progress: Progress | None = None,
) -> ParetoFront:
    """The sizes and errors that `opq.compress(model, ratio=...)` can give, from the finest codes to all but pruned layers.

    ratio, size  at most one: the budget of the chosen point, as for `opq.compress`
    files        how many files to encode, evenly over the logarithm of the size; 0: predictions only
    progress     called with a line of text at every stage

    Raises BudgetError for a budget that cannot be reached, and ValueError as `opq.compress` does.
    """
    say = progress if progress is not None else lambda line: None
    chosen = ratio is not None or size is not None
    problem, _ = set_up(model, Settings(ratio=ratio if chosen else 1.0, size=size), say)
    dense_bytes = problem.dense_bytes
    mark = file_point(compress(model, ratio=ratio, size=size, progress=say), dense_bytes) if chosen else None
    sweep = _Sweep(problem)
    predicted = tuple(sweep.predicted(target) for target in sweep.sizes(_PREDICTED))
    real = []
    for number, target in enumerate(sweep.sizes(files), 1):
        result = sweep.encoded(target)
        real.append(file_point(result, dense_bytes))
        say(f"file {number} of {files}: {result.file_bytes:,} bytes")
    return ParetoFront(dense_bytes, predicted, tuple(real), mark)


def file_point(model: CompressedModel, dense_bytes: int) -> ParetoPoint:
    """The real size and error of a compressed model that `opq.compress` made. Its details must have the layers' errors."""
    details = model.details["layers"]
    layers = {name: tensor for name, tensor in model.tensors.items() if isinstance(tensor, QuantizedTensor)}
    error = _mean(details[name]["real_error"] for name in layers)
    sparsity = np.average([t.sparsity for t in layers.values()], weights=[t.size for t in layers.values()])
    return ParetoPoint(model.file_bytes, dense_bytes / model.file_bytes, error, float(sparsity))


class _Sweep:
    """The allocations of one network for any size of its file, as the rate model has it; no file is fitted to its size."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._besides = problem.bytes_besides()

    def sizes(self, count: int) -> list[float]:
        """`count` predicted sizes, evenly spaced in their logarithm, from the largest to the smallest that can be had."""
        if not count:
            return []
        finest, coarsest = self._search(self._problem.dense_bytes), self._search(1.0)
        most, least = finest.predicted_bytes(finest.range()[0]), coarsest.predicted_bytes(coarsest.range()[1])
        return [float(size) for size in np.geomspace(self._besides + most, self._besides + least, count)]

    def predicted(self, target: float) -> ParetoPoint:
        """What the statistics of the layers say."""
        search, x = self._solved(target)
        allocation = Allocation(search.allocate(x))
        size = self._besides + search.predicted_bytes(x)
        error = _mean(layer.distortion for layer in allocation.values())
        return ParetoPoint(size, self._problem.dense_bytes / size, error, allocation.sparsity)

    def encoded(self, target: float) -> CompressedModel:
        """What the same allocation gives."""
        search, x = self._solved(target)
        return self._problem.model(search.allocate(x), search.layer_bytes(x))

    def _solved(self, target: float) -> tuple[BytesProblem, float]:
        search = self._search(target)
        return search, search.nearest(target - self._besides)

    def _search(self, target: float) -> BytesProblem:
        """The layers' weights in the objective depend on the size: every one has a search of its own."""
        layers = self._problem.layers
        return bytes_problem(layers, Budget(bytes=target), "nsr", {}, np.ones(len(layers)))


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)
