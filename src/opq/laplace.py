"""Closed forms for a Laplace weight distribution: rate and distortion of pruning and of the integer codebook.

A layer's magnitudes are modelled as |w| ~ Exp(b), that is w ~ Laplace(0, b) (Wen et al. and OPQ, arXiv 2205.11141,
section 3, use the same model). Everything scales: threshold t = b * tau, step D = b * delta, mean squared error
b^2 * d(tau, delta). The functions below are those of the unit Laplacian, b = 1; all of them broadcast.

Every integral is a difference of one primitive,

    Q(a, r) = integral from a to infinity of (x - r)^2 e^-x dx = e^-a ((a - r)^2 + 2 (a - r) + 2).

docs/method.md derives the formulas; tests/test_laplace.py checks them against quadrature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
ArrayLike = npt.ArrayLike

_LN2 = float(np.log(2.0))


def _error_beyond(a: ArrayLike, r: ArrayLike, origin: ArrayLike = 0.0) -> Array:
    """e^origin * Q(a, r): the squared error of coding all of [a, inf) by r, with the density e^-(x - origin)."""
    a, r, origin = (np.asarray(v, dtype=np.float64) for v in (a, r, origin))
    u = a - r
    return np.asarray(np.exp(-np.clip(a - origin, -700.0, 700.0)) * (u * u + 2.0 * u + 2.0))


def pruning_error(tau: ArrayLike) -> Array:
    """Mean squared error of setting |w| < tau to zero: 2 - e^-tau (tau^2 + 2 tau + 2).

    Below 0.02 the difference cancels, so the series tau^3/3 - tau^4/4 + tau^5/10 - tau^6/36 is used.
    """
    tau = np.asarray(tau, dtype=np.float64)
    small = np.minimum(tau, 0.02)
    series = small**3 * (1.0 / 3.0 - small * (0.25 - small * (0.1 - small / 36.0)))
    return np.asarray(np.where(tau < 0.02, series, 2.0 - _error_beyond(tau, 0.0)))


def cell_error(delta: ArrayLike) -> Array:
    """integral from 0 to delta of (x - delta/2)^2 e^-x dx = (1 - q)(delta^2/4 + 2) - (1 + q) delta,  q = e^-delta.

    The error of one full cell around its codeword. Below 0.02 the difference cancels: the series
    delta^3/12 - delta^4/24 + delta^5/60 - 7 delta^6/1440.
    """
    delta = np.asarray(delta, dtype=np.float64)
    small = np.minimum(delta, 0.02)
    series = small**3 * (1.0 / 12.0 - small * (1.0 / 24.0 - small * (1.0 / 60.0 - small * 7.0 / 1440.0)))
    q = np.exp(-np.minimum(delta, 700.0))
    exact = -np.expm1(-np.minimum(delta, 700.0)) * (delta * delta / 4.0 + 2.0) - (1.0 + q) * delta
    return np.asarray(np.where(delta < 0.02, series, exact))


def survivor_error(tau: ArrayLike, delta: ArrayLike, levels: ArrayLike, origin: ArrayLike = 0.0) -> Array:
    """Squared error of the survivors |w| > tau coded by the nearest of delta, 2 delta, ..., levels * delta.

    With the density e^-(x - origin); `origin` = tau gives the mean over the survivors alone. A survivor below delta/2
    still takes the code 1. The first code in use is m = max(1, floor(tau/delta + 1/2)); its cell is
    [tau, (m + 1/2) delta), then come full cells, and the last level takes everything above (levels - 1/2) delta.
    `levels` may be infinite.
    """
    tau, delta, levels, origin = (np.asarray(v, dtype=np.float64) for v in (tau, delta, levels, origin))
    first = np.minimum(np.maximum(1.0, np.floor(tau / delta + 0.5)), levels)
    edge = np.maximum((first + 0.5) * delta, tau)
    full_cells = np.maximum(levels - first - 1.0, 0.0)
    decay = -np.expm1(-np.minimum(full_cells * delta, 700.0)) / -np.expm1(-np.minimum(delta, 700.0))
    start = np.exp(-np.minimum(edge - origin, 700.0))
    with np.errstate(invalid="ignore"):
        last = _error_beyond((levels - 0.5) * delta, levels * delta, origin)
    last = np.where(np.isinf(levels), 0.0, last)
    several = (
        _error_beyond(tau, first * delta, origin)
        - _error_beyond(edge, first * delta, origin)
        + start * cell_error(delta) * decay
        + last
    )
    return np.asarray(np.where(levels > first, several, _error_beyond(tau, first * delta, origin)))


def distortion(tau: ArrayLike, delta: ArrayLike, levels: ArrayLike = np.inf) -> Array:
    """Mean squared error per weight of pruning at tau and coding the survivors with step delta."""
    return np.asarray(pruning_error(tau) + survivor_error(tau, delta, levels))


def binary_entropy(p: ArrayLike) -> Array:
    """Entropy in bits of a binary symbol of probability p."""
    p = np.clip(np.asarray(p, dtype=np.float64), 1e-300, 1.0)
    rest = np.maximum(1.0 - p, 1e-300)
    return np.asarray(-(p * np.log2(p) + rest * np.log2(rest)))


def rate(tau: ArrayLike, delta: ArrayLike) -> Array:
    """Entropy in bits per weight of the codes 0, +-m, +-(m + 1), ...; m = max(1, floor(tau / delta + 1/2)) is the first in use.

    R = h2(s) + s (1 + H):  s = e^-tau survive, each has a sign and a level of entropy H.
    """
    tau, delta = np.asarray(tau, dtype=np.float64), np.asarray(delta, dtype=np.float64)
    s = np.exp(-np.minimum(tau, 700.0))
    return np.asarray(binary_entropy(s) + s * (1.0 + level_entropy(tau, delta)))


def level_entropy(tau: ArrayLike, delta: ArrayLike) -> Array:
    """Entropy in bits of a survivor's level: H = h2(alpha) + alpha h2(q) / (1 - q).

    alpha = e^-((m + 1/2) delta - tau) of the survivors lie beyond the first level, where the index is geometric with ratio
    q = e^-delta.
    """
    tau, delta = np.asarray(tau, dtype=np.float64), np.asarray(delta, dtype=np.float64)
    first = np.maximum(1.0, np.floor(tau / delta + 0.5))
    alpha = np.exp(-np.clip((first + 0.5) * delta - tau, 0.0, 700.0))
    q = np.exp(-np.minimum(delta, 700.0))
    return np.asarray(binary_entropy(alpha) + alpha * binary_entropy(q) / -np.expm1(-np.minimum(delta, 700.0)))


def best_step(tau: ArrayLike, levels: ArrayLike) -> Array:
    """The step that minimises `survivor_error` for each threshold and number of levels (arrays of one shape).

    Which level is the first in use jumps with the step, so the error has up to tau / delta minima. A grid of the last level's
    position from just above tau to tau + 16 is fine enough to find the lowest, a finer one and golden-section search refine it:
    the error is within 0.1 % of the least.
    """
    tau, levels = np.broadcast_arrays(np.asarray(tau, dtype=np.float64), np.asarray(levels, dtype=np.float64))
    low, high = (tau + 0.05) / levels, (tau + 16.0) / levels
    for points in (480, 24):
        grid = np.geomspace(low, high, points, axis=-1)
        error = survivor_error(tau[..., None], grid, levels[..., None], tau[..., None])
        best = np.argmin(error, axis=-1)[..., None]
        low = np.take_along_axis(grid, np.maximum(best - 1, 0), axis=-1)[..., 0]
        high = np.take_along_axis(grid, np.minimum(best + 1, points - 1), axis=-1)[..., 0]
    return _golden_section(lambda delta: survivor_error(tau, delta, levels, tau), low, high, 32)


def _golden_section(f: Callable[[Array], Array], low: Array, high: Array, iterations: int) -> Array:
    """The minimum of a unimodal f in [low, high], elementwise."""
    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    for _ in range(iterations):
        width = ratio * (high - low)
        left, right = high - width, low + width
        keep_left = f(left) < f(right)
        low, high = np.where(keep_left, low, left), np.where(keep_left, right, high)
    return np.asarray((low + high) / 2.0)


@dataclass(frozen=True)
class JointTable:
    """Threshold and step that minimise d + l R, for multipliers l of the unit Laplacian. All arrays have one shape."""

    log_multiplier: Array
    log_tau: Array
    log_delta: Array

    def at(self, multiplier: ArrayLike) -> tuple[Array, Array]:
        """(tau, delta) at each multiplier, clamped to the table's range.

        Logarithms are interpolated linearly: the values themselves would err by 5e-4.
        """
        x = np.log(np.maximum(np.asarray(multiplier, dtype=np.float64), 1e-300))
        tau, delta = (np.exp(np.interp(x, self.log_multiplier, column)) for column in (self.log_tau, self.log_delta))
        return tau, delta

    def multiplier_at_threshold(self, tau: ArrayLike) -> Array:
        """The multiplier at which the threshold is tau, clamped to the table's range."""
        return np.asarray(np.exp(np.interp(np.log(np.maximum(tau, 1e-300)), self.log_tau, self.log_multiplier)))


def _tie_threshold(delta: Array, multiplier: Array) -> Array:
    """The threshold at which coding a weight as 0 and as 1 costs the same: d/dtau (d + l R) = 0 for a fixed step.

        tau^2 - (tau - delta)^2 = l log2(2 p0 / p1),   p0 = 1 - e^-tau,   p1 = e^-tau - e^-(1.5 delta)

    The difference changes sign once above delta/4, from negative to positive: a few halvings find the place, Newton steps
    make it exact.
    """
    share = multiplier / _LN2
    low, high = delta / 4.0, 1.5 * delta * (1.0 - 1e-9)
    tau = (low + high) / 2.0
    for halving in range(14):
        s, p0 = np.exp(-tau), -np.expm1(-tau)
        p1 = -s * np.expm1(tau - 1.5 * delta)
        difference = delta * (2.0 * tau - delta) - share * np.log(2.0 * p0 / p1)
        low, high = np.where(difference < 0.0, tau, low), np.where(difference < 0.0, high, tau)
        newton = tau - difference / (2.0 * delta - share * (s / p0 + s / p1))
        tau = np.clip(newton, low, high) if halving >= 10 else (low + high) / 2.0
    return np.asarray(tau)


def centroid_step(multiplier: ArrayLike) -> Array:
    """The step that minimises error + l * bits of survivors whose codewords are the centroids of their cells.

    delta coth(delta/2) = 2 + l / ln 2 for every threshold, by bisection: Sullivan, Efficient scalar quantization of exponential
    and Laplacian random variables, 1996.
    """
    multiplier = np.asarray(multiplier, dtype=np.float64)
    target = 2.0 + multiplier / _LN2
    low, high = np.sqrt(multiplier), target + 1.0
    for _ in range(40):
        delta = (low + high) / 2.0
        above = delta / np.tanh(delta / 2.0) > target
        low, high = np.where(above, low, delta), np.where(above, delta, high)
    return np.asarray((low + high) / 2.0)


@lru_cache(maxsize=1)
def joint_table() -> JointTable:
    """The joint optimum for 320 multipliers from 1e-7 (12.5 bits per weight) to 12 (5e-7 bits), built once in about 30 ms.

    For a fixed step the threshold has the closed form of `_tie_threshold`. The step is searched around the optimum of the
    codebook with centroids, which Sullivan (1996) gives in closed form for a Laplacian: delta coth(delta/2) = 2 + l / ln 2;
    integer codewords move it by less than a quarter.
    """
    multiplier = np.geomspace(1e-7, 12.0, 320)
    middle = centroid_step(multiplier)

    def cost(delta: Array) -> Array:
        tau = _tie_threshold(delta, multiplier)
        return distortion(tau, delta) + multiplier * rate(tau, delta)

    delta = _golden_section(cost, 0.8 * middle, 1.25 * middle, 28)
    tau = _tie_threshold(delta, multiplier)
    return JointTable(np.log(multiplier), np.log(tau), np.log(delta))


def index_entropy(tau: ArrayLike, delta: ArrayLike, levels: int) -> Array:
    """Entropy in bits of a survivor's level 1..levels (finite) for thresholds tau and steps delta, arrays of one shape."""
    tau, delta = (np.asarray(v, dtype=np.float64)[..., None] for v in (tau, delta))
    edges = np.maximum((np.arange(1, levels) + 0.5) * delta, tau)
    beyond = np.exp(-np.minimum(edges - tau, 700.0))
    ends = np.ones((*beyond.shape[:-1], 1))
    cells = -np.diff(np.concatenate([ends, beyond, 0.0 * ends], axis=-1), axis=-1)
    return np.asarray(-np.sum(cells * np.log2(np.maximum(cells, 1e-300)), axis=-1))
