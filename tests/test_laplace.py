"""The closed forms against quadrature, the optima against SciPy's minimisers, the series against exact arithmetic."""

import itertools
from decimal import Decimal, getcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize

from opq import laplace

taus = st.one_of(st.just(0.0), st.floats(1e-3, 6.0))
deltas = st.floats(0.05, 3.0)
levels = st.one_of(st.integers(1, 20), st.just(np.inf))


def quantized(x: float, tau: float, delta: float, k: float) -> float:
    """The value that |w| = x is coded by."""
    return 0.0 if x <= tau else float(np.clip(np.rint(x / delta), 1, k)) * delta


@given(taus, deltas, levels)
def test_distortion_is_the_integral(tau, delta, k):
    edges = sorted({0.0, tau, 40.0, *(e for e in (np.arange(0, 40.0 / delta) + 0.5) * delta if e < 40.0)})
    total = 0.0
    for a, b in itertools.pairwise(edges):
        value = quantized((a + b) / 2, tau, delta, k)
        total += quad(lambda x, v=value: (x - v) ** 2 * np.exp(-x), a, b)[0]
    if np.isfinite(k):
        total += quad(lambda x: (x - k * delta) ** 2 * np.exp(-x), 40.0, 90.0)[0]
    assert laplace.distortion(tau, delta, k) == pytest.approx(total, rel=1e-7, abs=1e-12)


@given(st.floats(0.05, 3.0), st.floats(0.3, 1.49))
def test_rate_is_the_entropy_of_the_cells(delta, ratio):
    tau = ratio * delta
    edges = np.concatenate([[tau], (np.arange(1, 2000) + 0.5) * delta])
    cells = -np.diff(np.exp(-edges))
    p = np.concatenate([[-np.expm1(-tau)], cells / 2, cells / 2])
    p = p[p > 0]
    assert laplace.rate(tau, delta) == pytest.approx(float(-(p * np.log2(p)).sum()), rel=1e-9)


@given(taus, deltas, st.integers(1, 60))
def test_index_entropy_is_the_entropy_of_the_levels(tau, delta, k):
    edges = np.maximum((np.arange(1, k) + 0.5) * delta, tau)
    beyond = np.exp(-(np.concatenate([[tau], edges]) - tau))
    p = beyond - np.concatenate([beyond[1:], [0.0]])
    p = p[p > 0]
    assert laplace.index_entropy(np.array(tau), np.array(delta), k) == pytest.approx(-(p * np.log2(p)).sum(), abs=1e-12)


@pytest.mark.parametrize("x", [1e-9, 1e-6, 1e-3, 0.0199, 0.0201, 0.3, 5.0])
def test_no_cancellation(x):
    getcontext().prec = 60
    d = Decimal(x)
    pruning = 2 - (-d).exp() * (d * d + 2 * d + 2)
    cell = (1 - (-d).exp()) * (d * d / 4 + 2) - (1 + (-d).exp()) * d
    assert laplace.pruning_error(x) == pytest.approx(float(pruning), rel=1e-8, abs=0)
    assert laplace.cell_error(x) == pytest.approx(float(cell), rel=1e-6, abs=0)


@pytest.mark.parametrize("multiplier", [1e-5, 1e-3, 0.03, 0.1, 0.3, 1.0, 3.0, 8.0])
def test_joint_table_is_the_optimum(multiplier):
    """SciPy's simplex, started from several points, finds nothing better than the table."""

    def cost(p):
        tau, delta = np.exp(p)
        if tau >= 1.5 * delta:
            return np.inf
        return float(laplace.distortion(tau, delta) + multiplier * laplace.rate(tau, delta))

    high_rate = np.sqrt(6 * multiplier / np.log(2))
    found = min(
        minimize(
            cost, np.log([0.6 * s * high_rate, s * high_rate]), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14}
        ).fun
        for s in (0.5, 1.0, 2.0, 4.0)
    )
    tau, delta = laplace.joint_table().at(multiplier)
    assert cost(np.log([tau, delta])) == pytest.approx(found, rel=1e-5)


def test_rate_falls_and_distortion_grows_along_the_table():
    tau, delta = laplace.joint_table().at(np.geomspace(1e-6, 10.0, 2000))
    assert (np.diff(laplace.rate(tau, delta)) < 0).all()
    assert (np.diff(laplace.distortion(tau, delta)) > 0).all()


@given(st.floats(0.0, 5.0), st.integers(1, 127))
def test_best_step_beats_a_fine_grid(tau, k):
    best = laplace.best_step(np.array([tau]), np.array([float(k)]))[0]
    grid = np.geomspace((tau + 0.02) / k, (tau + 20.0) / k, 4000)
    errors = laplace.survivor_error(tau, grid, k, tau)
    assert laplace.survivor_error(tau, best, k, tau) <= errors.min() * (1 + 1e-3)


def test_one_level_is_the_centroid_of_the_survivors():
    """The mean of t + Exp(b) is t + b, and its variance b^2."""
    step = laplace.best_step(np.array([0.0, 0.7, 3.0]), np.ones(3))
    np.testing.assert_allclose(step, [1.0, 1.7, 4.0], rtol=1e-6)
    np.testing.assert_allclose(laplace.survivor_error([0.0, 0.7, 3.0], step, 1, [0.0, 0.7, 3.0]), 1.0, rtol=1e-9)
