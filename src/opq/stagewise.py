"""Stage-wise allocation, the two steps of the paper: thresholds for what is to survive, then steps for the survivors.

The survivors of a layer are modelled as t + Exp(b), which a Laplace distribution gives for every t; b is the mean of the
nonzero magnitudes beyond the smallest one, so a layer that arrives pruned is modelled as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from opq import laplace
from opq.bytes_problem import Array, BytesProblem
from opq.histogram_steps import histogram_step
from opq.layer_allocation import LayerAllocation, decided, is_constant, trivial
from opq.quantization import MAX_LEVELS
from opq.statistics import HISTOGRAM_BINS, LayerStatistics

_BITS = range(2, 9)  # of a codebook: K = 2^(bits - 1) - 1 levels per sign


class Survivors:
    """A layer's thresholds and what is left beyond them: the first of the two steps.

    layers  their statistics
    units   u_i = 1 / (w_i b_i^2) of `opq.weighting`
    kept    the share to keep; None: exactly what is not zero
    costs   of a weight of each layer, to weigh the share by: 1, or multiply-adds per weight

    t_i = sqrt(mu c_i / w_i) = b_i sqrt(mu c_i u_i): raising it a little saves c_i N_i f_i(t) dt and costs
    w_i N_i t^2 f_i(t) dt, so it holds for every density f_i, and mu is solved on the measured distributions.
    """

    def __init__(
        self, layers: Sequence[LayerStatistics], units: npt.ArrayLike, kept: float | None, costs: npt.ArrayLike = 1.0
    ) -> None:
        self.layers = layers
        self.units = np.asarray(units, dtype=np.float64)
        self.thresholds = np.zeros(len(layers))
        self.sparsities = np.array([1.0 - layer.nonzeros / layer.count for layer in layers])
        if kept is not None:
            self._solve(kept, np.broadcast_to(np.asarray(costs, dtype=np.float64), (len(layers),)))
        maximum = np.array([layer.maximum for layer in layers])
        self.special = np.array([layer.nonzeros == 0 or is_constant(layer) for layer in layers]) | (self.thresholds >= maximum)
        self.b = np.array([layer.mean_nonzero - layer.minimum for layer in layers])
        self.b[self.special] = 1.0
        self.start = np.array([layer.minimum for layer in layers]) / self.b  # where the Laplace tail begins
        self.tau = np.maximum(self.thresholds / self.b, self.start)
        self._density = np.array([layer.nonzeros / layer.count for layer in layers])

    def _solve(self, kept: float, costs: Array) -> None:
        live = [i for i, layer in enumerate(self.layers) if layer.tail is not None]
        counts = costs * np.array([layer.count for layer in self.layers], dtype=np.float64)
        maximum = np.array([layer.maximum for layer in self.layers])
        if kept >= float(np.average(1.0 - self.sparsities, weights=counts)):
            return
        if kept == 0.0:
            self.thresholds, self.sparsities = maximum, np.ones(len(self.layers))
            return
        maximum, minimum = maximum[live], np.array([self.layers[i].minimum for i in live])
        scale = np.array([layer.mean for layer in self.layers])
        unit = (scale * np.sqrt(costs * self.units))[live]
        width = np.array([self.layers[i].bin_width for i in live])
        tails = np.stack([layer.tail for layer in self.layers if layer.tail is not None])
        rows = np.arange(len(live))

        outliers = [np.sort(self.layers[i].outliers) for i in live]

        def survivors(log_root: float) -> Array:
            """Nonzeros above exp(log_root) * unit, linear inside a bin; the least and the largest magnitude end their bins.

            The last bin has no end, and where a penalty has made most weights tiny it holds all that matter: it is counted.
            """
            t = np.exp(log_root) * unit
            k = np.minimum(t / width, HISTOGRAM_BINS - 1).astype(np.int64)
            begin = np.maximum(k * width, minimum)
            end = np.minimum((k + 1) * width, maximum)
            inside = np.clip((t - begin) / np.maximum(end - begin, 1e-300), 0.0, 1.0)
            count = tails[rows, k] + inside * (tails[rows, k + 1] - tails[rows, k])
            for i in np.flatnonzero(k == HISTOGRAM_BINS - 1):
                count[i] = outliers[i].size - np.searchsorted(outliers[i], t[i], side="right")
            return np.asarray(np.where(t >= maximum, 0.0, count))

        target = kept * counts.sum()
        low = float(np.log(np.min(width / unit))) - 20.0
        high = float(np.log(np.max(maximum / unit))) + 1e-9
        root = brentq(lambda log_root: float(survivors(log_root) @ costs[live]) - target, low, high, xtol=1e-12, maxiter=300)
        self.thresholds[live] = np.exp(root) * unit
        self.sparsities[live] = 1.0 - survivors(root) / np.array([self.layers[i].count for i in live])

    def error(self, delta: Array, levels: npt.ArrayLike) -> Array:
        """Squared error per weight, in b^2, of steps delta with so many levels."""
        survivors = laplace.survivor_error(self.tau, delta, levels, self.start)
        return np.asarray(self._density * (survivors + _pruned_error(self.start, self.tau)))

    def bits(self, level_entropy: Array) -> Array:
        """Entropy of the codes, bits per weight."""
        return np.asarray(laplace.binary_entropy(self.sparsities) + (1.0 - self.sparsities) * (1.0 + level_entropy))

    def decide(
        self, delta: Array, levels: npt.NDArray[np.int64], error: Array, bits: Array, multipliers: Array
    ) -> list[LayerAllocation]:
        """The layers' allocations for these steps; errors are per weight, in b^2."""
        result = []
        for i, layer in enumerate(self.layers):
            if self.special[i]:
                result.append(trivial(layer, self.thresholds[i]))
                continue
            noise = self.b[i] ** 2 * error[i] / layer.energy
            step = delta[i] * self.b[i]
            result.append(
                decided(layer, self.thresholds[i], step, int(levels[i]), self.sparsities[i], noise, bits[i], multipliers[i])
            )
        return result


def with_bits(survivors: Survivors, bits: int, measured: bool) -> list[LayerAllocation]:
    """The best step for codebooks of `bits` bits in every layer: on the measured distribution, or on the Laplace model's."""
    return _with_levels(survivors, np.full(len(survivors.layers), 2 ** (bits - 1) - 1), measured)


def with_mean_bits(survivors: Survivors, mean_bits: float, measured: bool) -> list[LayerAllocation]:
    """Codebooks of 2 to 8 bits, `mean_bits` on average over the survivors.

    Every layer starts with 2 bits. Error falls ever more slowly with the bits, so the best use of what is left is to give a bit
    to the layer whose weighted error falls most for it, again and again.
    """
    counts = np.array([layer.count for layer in survivors.layers], dtype=np.float64)
    scale = np.array([layer.mean or 1.0 for layer in survivors.layers])
    importance = counts * survivors.b**2 / (survivors.units * scale**2)  # w_i N_i b_i^2
    kept = counts * (1.0 - survivors.sparsities) * ~survivors.special
    errors = []
    for bits in _BITS:
        levels = np.full(len(counts), 2 ** (bits - 1) - 1)
        errors.append(_best_steps(survivors, levels, measured)[1])
    gains = importance * -np.diff(errors, axis=0)  # [bits, layers]
    gains = np.minimum.accumulate(np.maximum(gains, 0.0), axis=0)
    per_bit = gains / np.maximum(kept, 1.0)
    chosen = np.full(len(counts), _BITS[0])
    left = (mean_bits - _BITS[0]) * kept.sum()
    for index in np.argsort(-per_bit, axis=None, kind="stable"):
        layer = index % len(counts)
        if 0.0 < kept[layer] <= left and chosen[layer] == _BITS[0] + index // len(counts):
            chosen[layer] += 1
            left -= kept[layer]
    return _with_levels(survivors, 2 ** (chosen - 1) - 1, measured)


def _best_steps(survivors: Survivors, levels: npt.NDArray[np.int64], measured: bool) -> tuple[Array, Array]:
    """Steps in b and errors in b^2 of every layer."""
    if not measured:
        delta = laplace.best_step(survivors.tau, levels)
        return delta, survivors.error(delta, levels)
    found = [
        (1.0, 0.0) if special else histogram_step(layer, threshold, int(k))
        for layer, threshold, k, special in zip(survivors.layers, survivors.thresholds, levels, survivors.special, strict=True)
    ]
    steps, errors = np.array(found).T
    return steps / survivors.b, errors / survivors.b**2


def _with_levels(survivors: Survivors, levels: npt.NDArray[np.int64], measured: bool) -> list[LayerAllocation]:
    delta, error = _best_steps(survivors, levels, measured)
    entropy = np.array([laplace.index_entropy(t, d, int(k)) for t, d, k in zip(survivors.tau, delta, levels, strict=True)])
    return survivors.decide(delta, levels, error, survivors.bits(entropy), np.zeros(len(delta)))


class StagewiseProblem(BytesProblem):
    """Steps that minimise error + lambda * bits of the survivors: the second step, for a budget of bytes.

    delta coth(delta/2) = 2 + l / ln 2 with l_i = lambda u_i, whatever the threshold is: the exponential has no memory. A step
    is at least maximum / 127, the range of int8 codes, and at most so large that one level is left.
    """

    def __init__(self, survivors: Survivors) -> None:
        super().__init__(survivors.layers)
        self._survivors = survivors
        maximum = np.array([layer.maximum for layer in self.layers])
        self._maximum = np.where(survivors.special, 1.0, maximum / survivors.b)
        scale = np.array([layer.mean or 1.0 for layer in self.layers])
        self._units = survivors.units * scale**2 / survivors.b**2  # in the b of the survivors

    def range(self) -> tuple[float, float]:
        """log lambda from where every step is finer than codes can be to where one level is left everywhere."""
        return float(np.log(1e-9 / self._units.max())), float(np.log(1e4 / self._units.min()))

    def _steps(self, log_multiplier: float) -> Array:
        delta = laplace.centroid_step(np.exp(log_multiplier) * self._units)
        return np.clip(delta, self._maximum / MAX_LEVELS, self._maximum)

    def rates(self, log_multiplier: float) -> Array:
        """Predicted bits per weight of every layer."""
        bits = self._survivors.bits(laplace.level_entropy(self._survivors.tau, self._steps(log_multiplier)))
        special = [trivial(layer, t).bits for layer, t in zip(self.layers, self._survivors.thresholds, strict=True)]
        return np.where(self._survivors.special, special, bits)

    def allocate(self, log_multiplier: float) -> list[LayerAllocation]:
        """The layers' allocations for one value of log lambda."""
        delta = self._steps(log_multiplier)
        levels = np.clip(np.rint(self._maximum / delta), 1, MAX_LEVELS).astype(np.int64)
        bits = self._survivors.bits(laplace.level_entropy(self._survivors.tau, delta))
        multipliers = np.exp(log_multiplier) * self._units / delta**2
        return self._survivors.decide(delta, levels, self._survivors.error(delta, levels), bits, multipliers)


def _pruned_error(start: Array, tau: Array) -> Array:
    """Error of pruning magnitudes start + Exp(1) below tau: integral of x^2 e^-(x - start) from start to tau.

    s^2 + 2 s + 2 - e^-(tau - s) (tau^2 + 2 tau + 2); near zero, where that cancels, e^s times a difference of pruning errors.
    """
    near = np.minimum(start, 1.0)
    from_zero = np.exp(near) * (laplace.pruning_error(tau) - laplace.pruning_error(near))
    beyond = np.exp(-np.clip(tau - start, 0.0, 700.0)) * (tau**2 + 2.0 * tau + 2.0)
    error = np.where(start > 1.0, start**2 + 2.0 * start + 2.0 - beyond, from_zero)
    return np.asarray(np.where(tau > start, np.maximum(error, 0.0), 0.0))
