"""From layers and a budget to an allocation, or to the search for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from opq.budget import Budget
from opq.bytes_problem import BytesProblem
from opq.histogram_problem import HistogramProblem
from opq.joint import JointProblem
from opq.layer_allocation import LayerAllocation
from opq.stagewise import StagewiseProblem, Survivors, with_bits, with_mean_bits
from opq.statistics import LayerStatistics
from opq.weighting import Weighting, units

Distribution = Literal["auto", "laplace", "histogram"]


def bytes_problem(
    layers: Sequence[LayerStatistics], budget: Budget, weighting: Weighting, layer_weight: Mapping[str, float],
    costs: npt.ArrayLike, distribution: Distribution = "auto",
) -> BytesProblem:  # fmt: skip
    """The search for a budget of bytes: joint, or of the steps alone where the budget says what survives."""
    assert budget.bytes is not None
    if not budget.joint:
        return StagewiseProblem(Survivors(layers, units(layers, weighting, layer_weight), budget.kept, costs))
    bits = 8.0 * budget.bytes / sum(layer.count for layer in layers)
    kind = HistogramProblem if distribution == "histogram" else JointProblem
    return kind(layers, units(layers, weighting, layer_weight, bits))


def fixed_codebooks(
    layers: Sequence[LayerStatistics], budget: Budget, weighting: Weighting, layer_weight: Mapping[str, float],
    costs: npt.ArrayLike, distribution: Distribution = "auto",
) -> list[LayerAllocation]:  # fmt: skip
    """The allocation for a budget of `bits` or `mean_bits`."""
    measured = distribution != "laplace"
    survivors = Survivors(layers, units(layers, weighting, layer_weight), budget.kept, costs)
    if budget.mean_bits is not None:
        return with_mean_bits(survivors, budget.mean_bits, measured)
    assert budget.bits is not None
    return with_bits(survivors, budget.bits, measured)


def costs_of(layers: Sequence[LayerStatistics], budget: Budget, pixels: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """What a weight of each layer costs in the budget: 1, or, of multiply-adds, its pixels."""
    if budget.macs is None:
        return np.ones(len(layers))
    return np.array([pixels.get(layer.name, 1.0) for layer in layers], dtype=np.float64)


def check_distribution(distribution: Distribution, budget: Budget) -> None:
    """Raises ValueError for an unknown word, and for a histogram where bytes are spent on steps alone."""
    if distribution not in get_args(Distribution):
        raise ValueError(f'distribution {distribution!r} is unknown: expected "auto", "laplace" or "histogram"')
    if distribution == "histogram" and budget.bytes is not None and not budget.joint:
        raise ValueError('distribution "histogram" is not for size or ratio after sparsity or macs')


def needs_histogram(distribution: Distribution, budget: Budget) -> bool:
    """Whether the layers' histograms are looked at: for thresholds, for steps of codebooks, or because they were asked for."""
    return budget.kept is not None or distribution == "histogram" or (budget.bytes is None and distribution == "auto")
