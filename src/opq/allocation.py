"""OPQ's allocation: from a budget to one threshold and one step per layer, in closed form.

Each layer i has N_i weights with Laplace scale b_i and a weight w_i in the objective sum_i w_i N_i E[(w - w^)^2].
The default w_i = 1 / (N_i b_i^2) makes it the sum of the layers' noise-to-signal ratios, which does not change when a
layer is rescaled. Two forms of budget (docs/method.md derives both):

* joint (a size): minimise error + lambda * bits. With l_i = lambda / (w_i b_i^2) = lambda N_i, threshold and step of every
  layer come from one table of the unit Laplacian, and one number, lambda, meets the budget.
* stage-wise (a sparsity, then bits), the two steps of the paper: thresholds t_i = sqrt(mu / w_i), which is optimal for any
  density of weights, so mu is solved on the measured distribution; then the step that minimises the error of K levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from opq import laplace
from opq.budget import Budget, Size, parse_budget
from opq.errors import BudgetError
from opq.quantization import MAX_LEVELS, ChannelScale, as_weights
from opq.statistics import HISTOGRAM_BINS, LayerStatistics, measure

# Below this size the fit of b is too uncertain and a layer's bits are too few to matter: 8 bits, outside the Lagrangian.
SMALL_LAYER = 2048

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LayerAllocation:
    """What `opq.allocate` decided for one layer. Threshold and step are in units of |w| / scale[channel].

    sparsity     predicted share of zeros
    distortion   predicted squared error over squared weights (noise-to-signal ratio), in the same units
    bits         predicted entropy of the codes, bits per weight
    multiplier   lambda: the squared error, in steps^2, that a bit is worth; 0 where no size was asked for
    """

    name: str
    shape: tuple[int, ...]
    axis: int
    channel_scale: ChannelScale
    threshold: float
    step: float
    levels: int
    sparsity: float
    distortion: float
    bits: float
    multiplier: float = 0.0

    @property
    def predicted_bytes(self) -> float:
        """Bytes of the codes at their predicted entropy, and 2 per channel scale."""
        scales = self.shape[self.axis] if self.channel_scale == "rms" else 0
        return self.bits * math.prod(self.shape) / 8.0 + 2.0 * scales


class Allocation(Mapping[str, LayerAllocation]):
    """The layers' allocations by name, in the order they were given."""

    def __init__(self, layers: Sequence[LayerAllocation]) -> None:
        self._layers = {layer.name: layer for layer in layers}

    def __getitem__(self, name: str) -> LayerAllocation:
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __repr__(self) -> str:
        return f"Allocation({len(self)} layers, sparsity {self.sparsity:.3f}, {self.bits:.2f} bits per weight)"

    def _mean(self, attribute: Literal["sparsity", "bits"]) -> float:
        sizes = [float(np.prod(layer.shape)) for layer in self.values()]
        return float(np.average([getattr(layer, attribute) for layer in self.values()], weights=sizes))

    @property
    def sparsity(self) -> float:
        """Predicted share of zeros over all layers."""
        return self._mean("sparsity")

    @property
    def bits(self) -> float:
        """Predicted entropy, bits per weight over all layers."""
        return self._mean("bits")


def allocate(
    weights: Mapping[str, npt.ArrayLike],
    *,
    sparsity: float | None = None,
    bits: int | None = None,
    size: Size | None = None,
    ratio: float | None = None,
    channel_scale: Literal["auto", "rms", "none"] = "auto",
    axis: int = 0,
) -> Allocation:
    """Decide threshold, step and number of levels of every layer from its weights alone.

    weights        name -> float array of any shape, memory order and floating-point type; `axis` is its output-channel axis
    sparsity, bits a share of zeros over all layers together, and K = 2^(bits - 1) - 1 levels for each; `bits` alone keeps
                   exactly the weights that are not zero
    size           predicted bytes of the codes and channel scales, a number or e.g. "2MB"
    ratio          4 bytes per weight over that size
    channel_scale  "rms" divides each channel by its root mean square (rounded to bfloat16, which two bytes hold) and keeps that
                   as the channel's scale; "none" does not; "auto" is "rms"

    Raises BudgetError for a budget that is contradictory, out of range or not reachable, and ValueError, naming the layer, for
    weights that are not finite floating-point numbers.
    """
    if not weights:
        raise ValueError("no weights were given to allocate")
    if channel_scale not in ("auto", "rms", "none"):
        raise ValueError(f'channel_scale {channel_scale!r} is unknown: expected "auto", "rms" or "none"')
    total = sum(int(np.size(array)) for array in weights.values())
    budget = parse_budget(4 * total, sparsity=sparsity, bits=bits, size=size, ratio=ratio)
    scaling: ChannelScale = "none" if channel_scale == "none" else "rms"
    layers = []
    for name, array in weights.items():
        values = as_weights(name, array)
        if not -values.ndim <= axis < values.ndim:
            raise ValueError(f"layer {name!r}: axis {axis} is out of range for shape {values.shape}")
        layers.append(measure(name, values, axis % values.ndim, scaling, budget.sparsity is not None))
    if budget.bytes is not None:
        problem = JointProblem(layers)
        return Allocation(problem.allocate(problem.solve(budget.bytes)))
    return Allocation(stagewise(layers, budget))


# --- joint ---------------------------------------------------------------------------------------------------------------


class JointProblem:
    """Layers that share one budget of bytes: everything is a function of one number, log lambda.

    Layer i uses the table's entry for l_i = lambda / (w_i b_i^2) = lambda N_i. Its step is at least maximum / 127, so that no
    weight is clipped by the range of int8 codes; a layer held there, and a small one, gets uniform 8-bit codes.
    """

    def __init__(self, layers: Sequence[LayerStatistics]) -> None:
        self.layers = layers
        self._table = laplace.joint_table()
        self._counts = np.array([layer.count for layer in layers], dtype=np.float64)
        self._special = np.array([layer.nonzeros == 0 or _is_constant(layer) for layer in layers])
        self._mean = np.where(self._special, 1.0, [layer.mean for layer in layers])
        self._finest = np.where(self._special, 1.0, [layer.maximum / MAX_LEVELS for layer in layers])
        self._small = self._counts < SMALL_LAYER
        self._special_bits = np.array([_trivial(layer).bits if s else 0.0 for layer, s in zip(layers, self._special)])
        self._scale_bytes = np.array([2.0 * layer.channels if layer.channel_scale == "rms" else 0.0 for layer in layers])
        self._factor, self._constant = np.ones(len(layers)), np.zeros(len(layers))

    def range(self) -> tuple[float, float]:
        """log lambda from where every layer is coded as finely as the table goes to where every layer is all but pruned."""
        ends = self._table.log_multiplier
        return float(ends[0] - np.log(self._counts.max())), float(ends[-1] - np.log(self._counts.min()))

    def _solution(self, log_multiplier: float) -> tuple[_Array, _Array]:
        """(tau, delta) of every layer, for the unit Laplacian."""
        tau, delta = self._table.at(self._multipliers(log_multiplier))
        finest = self._finest / self._mean
        held = self._small | (delta <= finest)
        return np.where(held, finest / 2.0, tau), np.where(held, finest, delta)

    def _multipliers(self, log_multiplier: float) -> _Array:
        """l_i = lambda N_i: the squared error, in b_i^2, that a bit of the layer is worth."""
        return np.asarray(np.exp(log_multiplier) * self._counts)

    def _modelled_bytes(self, log_multiplier: float) -> _Array:
        rate = np.where(self._special, self._special_bits, laplace.rate(*self._solution(log_multiplier)))
        return np.asarray(self._counts * rate / 8.0 + self._scale_bytes)

    def layer_bytes(self, log_multiplier: float) -> _Array:
        """Predicted bytes of every layer, codes at their entropy and 2 per channel scale, as corrected by `correct`."""
        return np.asarray(self._factor * self._modelled_bytes(log_multiplier) + self._constant)

    def predicted_bytes(self, log_multiplier: float) -> float:
        """Predicted bytes of all layers; they fall with log lambda."""
        return float(self.layer_bytes(log_multiplier).sum())

    def correct(self, log_multiplier: float, real_bytes: Sequence[float]) -> None:
        """Let `layer_bytes` be `real_bytes` at this log lambda.

        A factor is for what the weights and the coder differ from the model by. Where it would be far from 1, as for the tables
        of a layer of few codes, a constant takes the rest.
        """
        modelled, real = self._modelled_bytes(log_multiplier), np.asarray(real_bytes, dtype=np.float64)
        self._factor = np.clip(real / np.maximum(modelled, 1.0), 0.5, 2.0)
        self._constant = real - self._factor * modelled

    def solve(self, target: float) -> float:
        """log lambda at which `predicted_bytes` is `target`. Raises BudgetError with the reachable range."""
        low, high = self.range()
        most, least = self.predicted_bytes(low), self.predicted_bytes(high)
        if not least <= target <= most:
            raise BudgetError(f"size {target:.0f} bytes is not reachable: expected {np.ceil(least):.0f} to {most:.0f}")
        root = brentq(lambda x: self.predicted_bytes(x) - target, low, high, xtol=1e-6, maxiter=200)
        return float(root)

    def nearest(self, target: float) -> float:
        """The log lambda of `solve`, or the end of the range that comes closest."""
        low, high = self.range()
        if target >= self.predicted_bytes(low):
            return low
        return high if target <= self.predicted_bytes(high) else self.solve(target)

    def allocate(self, log_multiplier: float) -> list[LayerAllocation]:
        """The layers' allocations for one value of log lambda."""
        tau, delta = self._solution(log_multiplier)
        rate, distortion = laplace.rate(tau, delta), laplace.distortion(tau, delta)
        multiplier = np.where(self._small, 0.0, self._multipliers(log_multiplier) / delta**2)
        result = []
        for i, layer in enumerate(self.layers):
            if self._special[i]:
                result.append(_trivial(layer))
                continue
            step = delta[i] * layer.mean
            levels = int(np.clip(np.rint(layer.maximum / step), 1, MAX_LEVELS))
            error = distortion[i] * layer.mean**2 / layer.energy
            decided = _allocation(layer, tau[i] * layer.mean, step, levels, -np.expm1(-tau[i]), error, rate[i])
            result.append(replace(decided, multiplier=float(multiplier[i])))
        return result


# --- stage-wise ----------------------------------------------------------------------------------------------------------


def stagewise(layers: Sequence[LayerStatistics], budget: Budget) -> list[LayerAllocation]:
    """Thresholds for the budget's sparsity (0 without one: only exact zeros are pruned), then the best step for its levels.

    The survivors of a layer are modelled as t + Exp(b), which a Laplace distribution gives for every t; b is the mean of the
    nonzero magnitudes beyond the smallest one, so a layer that arrives pruned is modelled as well.
    """
    thresholds, sparsities = np.zeros(len(layers)), np.array([1.0 - layer.nonzeros / layer.count for layer in layers])
    if budget.sparsity is not None:
        thresholds, sparsities = _thresholds(layers, budget.sparsity)
    levels = budget.levels
    b = np.array([layer.mean_nonzero - layer.minimum for layer in layers])
    special = np.array([layer.nonzeros == 0 or _is_constant(layer) for layer in layers])
    b[special] = 1.0
    start = np.array([layer.minimum for layer in layers]) / b  # where the Laplace tail begins
    tau = np.maximum(thresholds / b, start)
    delta = laplace.best_step(tau, np.full(tau.shape, float(levels)))
    density = np.array([layer.nonzeros / layer.count for layer in layers])
    energy = np.array([layer.energy for layer in layers])
    error = laplace.survivor_error(tau, delta, levels, start) + _pruned_error(start, tau)
    bits = laplace.binary_entropy(sparsities) + (1.0 - sparsities) * (1.0 + laplace.index_entropy(tau, delta, levels))
    result = []
    for i, layer in enumerate(layers):
        if special[i] or thresholds[i] >= layer.maximum:
            result.append(_trivial(layer, thresholds[i]))
        else:
            noise = density[i] * b[i] ** 2 * error[i] / energy[i]
            result.append(_allocation(layer, thresholds[i], delta[i] * b[i], levels, sparsities[i], noise, bits[i]))
    return result


def _thresholds(layers: Sequence[LayerStatistics], sparsity: float) -> tuple[_Array, _Array]:
    """t_i = sqrt(mu / w_i) = b_i sqrt(mu N_i) and the measured sparsities, with mu such that their mean is `sparsity`."""
    live = [i for i, layer in enumerate(layers) if layer.tail is not None]
    counts = np.array([layer.count for layer in layers], dtype=np.float64)
    sparsities = np.array([1.0 - layer.nonzeros / layer.count for layer in layers])
    thresholds = np.zeros(len(layers))
    if sparsity <= float(np.average(sparsities, weights=counts)):
        return thresholds, sparsities
    if sparsity == 1.0:
        return np.array([layer.maximum for layer in layers]), np.ones(len(layers))
    unit = np.array([layers[i].mean * np.sqrt(layers[i].count) for i in live])
    width = np.array([layers[i].bin_width for i in live])
    maximum = np.array([layers[i].maximum for i in live])
    tails = np.stack([layer.tail for layer in layers if layer.tail is not None])
    rows = np.arange(len(live))

    def survivors(log_root: float) -> _Array:
        """Nonzeros above exp(log_root) * unit, linear inside a bin; the last bin ends at the largest magnitude."""
        t = np.exp(log_root) * unit
        k = np.minimum((t / width).astype(np.int64), HISTOGRAM_BINS - 1)
        end = np.where(k == HISTOGRAM_BINS - 1, np.maximum(maximum, (k + 1) * width), (k + 1) * width)
        inside = np.clip((t - k * width) / (end - k * width), 0.0, 1.0)
        count = tails[rows, k] + inside * (tails[rows, k + 1] - tails[rows, k])
        return np.asarray(np.where(t >= maximum, 0.0, count))

    target = (1.0 - sparsity) * counts.sum()
    low = float(np.log(np.min(width / unit))) - 20.0
    high = float(np.log(np.max(maximum / unit))) + 1e-9
    root = brentq(lambda log_root: float(survivors(log_root).sum()) - target, low, high, xtol=1e-12, maxiter=300)
    thresholds[live] = np.exp(root) * unit
    sparsities[live] = 1.0 - survivors(root) / counts[live]
    return thresholds, sparsities


def _pruned_error(start: _Array, tau: _Array) -> _Array:
    """Error of pruning magnitudes start + Exp(1) below tau: integral of x^2 e^-(x - start) from start to tau."""
    from_zero = laplace.pruning_error(tau) - laplace.pruning_error(start)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.where(tau > start, np.exp(np.minimum(start, 600.0)) * from_zero, 0.0))


# --- layers without a distribution ---------------------------------------------------------------------------------------


def _is_constant(layer: LayerStatistics) -> bool:
    """All nonzero magnitudes equal (up to the rounding of a channel's division): one level codes them exactly."""
    return layer.nonzeros > 0 and layer.maximum - layer.minimum <= 4e-7 * layer.maximum


def _trivial(layer: LayerStatistics, threshold: float = 0.0) -> LayerAllocation:
    """A layer of zeros, one whose nonzero magnitudes are all equal, or one that is pruned as a whole."""
    if layer.nonzeros == 0:
        return _allocation(layer, 0.0, 1.0, 1, 1.0, 0.0, 0.0)
    if threshold >= layer.maximum:
        return _allocation(layer, threshold, layer.maximum, 1, 1.0, 1.0, 0.0)
    density = layer.nonzeros / layer.count
    bits = float(laplace.binary_entropy(density)) + density
    return _allocation(layer, 0.0, layer.maximum, 1, 1.0 - density, 0.0, bits)


def _allocation(
    layer: LayerStatistics, threshold: float, step: float, levels: int, sparsity: float, distortion: float, bits: float
) -> LayerAllocation:
    smallest = float(np.finfo(np.float32).tiny)
    return LayerAllocation(
        layer.name, layer.shape, layer.axis, layer.channel_scale,
        float(np.float32(threshold)), max(float(np.float32(step)), smallest), levels,
        float(sparsity), float(distortion), float(bits),
    )  # fmt: skip
