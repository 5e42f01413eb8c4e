"""Joint allocation: one number, lambda, sets threshold and step of every layer for a budget of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opq import laplace
from opq.bytes_problem import Array, BytesProblem
from opq.layer_allocation import LayerAllocation, decided, is_constant, trivial
from opq.quantization import MAX_LEVELS
from opq.statistics import LayerStatistics

# Below this size the fit of b is too uncertain and a layer's bits are too few to matter: 8 bits, outside the Lagrangian.
SMALL_LAYER = 2048
LARGEST_SPARSITY = 0.98


class Predictions(NamedTuple):
    """Of every layer, b its mean magnitude: threshold and step in b, share of zeros, squared error in b^2, bits per weight."""

    tau: Array
    delta: Array
    sparsity: Array
    distortion: Array
    rate: Array


class JointProblem(BytesProblem):
    """Thresholds and steps that minimise error + lambda * bits.

    Layer i uses the table's entry for l_i = lambda u_i, with its unit u_i from `opq.weighting`; the default units are N_i. Its
    step is at least maximum / 127, so that no weight is clipped by the range of int8 codes; a layer held there, and a small
    one, gets uniform 8-bit codes. No layer is pruned beyond 98 %, or to less than a weight per channel, unless it arrived so.
    """

    def __init__(self, layers: Sequence[LayerStatistics], units: npt.ArrayLike | None = None) -> None:
        super().__init__(layers)
        self._table = laplace.joint_table()
        self._units = self.counts if units is None else np.asarray(units, dtype=np.float64)
        self._special = np.array([layer.nonzeros == 0 or is_constant(layer) for layer in layers])
        self._mean = np.where(self._special, 1.0, [layer.mean for layer in layers])
        self._finest = np.where(self._special, 1.0, [layer.maximum / MAX_LEVELS for layer in layers])
        self._small = self.counts < SMALL_LAYER
        self._special_bits = np.array([trivial(layer).bits if s else 0.0 for layer, s in zip(layers, self._special)])
        self._cap = self._table.multiplier_at_threshold(-np.log([least_density(layer) for layer in layers]))

    def range(self) -> tuple[float, float]:
        """log lambda from where every layer is coded as finely as the table goes to where every layer is all but pruned."""
        ends = self._table.log_multiplier
        return float(ends[0] - np.log(self._units.max())), float(ends[-1] - np.log(self._units.min()))

    def _solution(self, log_multiplier: float) -> tuple[Array, Array]:
        """(tau, delta) of every layer, for the unit Laplacian."""
        tau, delta = self._table.at(np.minimum(self._multipliers(log_multiplier), self._cap))
        finest = self._finest / self._mean
        held = self._small | (delta <= finest)
        return np.where(held, finest / 2.0, tau), np.where(held, finest, delta)

    def held(self, log_multiplier: float) -> list[bool]:
        """Whether a layer's codes would be finer if they had more than 8 bits."""
        _, delta = self._table.at(np.minimum(self._multipliers(log_multiplier), self._cap))
        return list(~self._special & ~self._small & (delta < self._finest / self._mean))

    def _multipliers(self, log_multiplier: float) -> Array:
        """l_i = lambda u_i: the squared error, in b_i^2, that a bit of the layer is worth."""
        return np.asarray(np.exp(log_multiplier) * self._units)

    def predictions(self, log_multiplier: float) -> Predictions:
        """Thresholds and steps, and what they do to Laplace weights."""
        tau, delta = self._solution(log_multiplier)
        return Predictions(tau, delta, -np.expm1(-tau), laplace.distortion(tau, delta), laplace.rate(tau, delta))

    def rates(self, log_multiplier: float) -> Array:
        """Predicted bits per weight of every layer."""
        return np.where(self._special, self._special_bits, self.predictions(log_multiplier).rate)

    def allocate(self, log_multiplier: float) -> list[LayerAllocation]:
        """The layers' allocations for one value of log lambda."""
        found = self.predictions(log_multiplier)
        multiplier = np.where(self._small, 0.0, self._multipliers(log_multiplier) / found.delta**2)
        result = []
        for i, layer in enumerate(self.layers):
            if self._special[i]:
                result.append(trivial(layer))
                continue
            step = found.delta[i] * layer.mean
            levels = int(np.clip(np.rint(layer.maximum / step), 1, MAX_LEVELS))
            error = found.distortion[i] * layer.mean**2 / layer.energy
            threshold = found.tau[i] * layer.mean
            result.append(decided(layer, threshold, step, levels, found.sparsity[i], error, found.rate[i], multiplier[i]))
        return result


def least_density(layer: LayerStatistics) -> float:
    """The share of weights that survive at least; 0 for a layer that arrived pruned."""
    if layer.nonzeros < layer.count / 2:
        return 1e-300
    return min(1.0 - 1e-9, max(1.0 - LARGEST_SPARSITY, layer.channels / layer.count))
