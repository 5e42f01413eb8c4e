"""Traps of an allocation. Cancellation, overflow and sums of many terms."""

from decimal import Decimal, localcontext

import numpy as np
import pytest

from opq import laplace
from opq.joint import JointProblem
from opq.statistics import LayerStatistics, measure
from opq.weights import channel_scales


def exact_survivor_error(tau, delta):
    """`laplace.survivor_error` without a last level, with 60 digits."""
    first = max(1, int(np.floor(tau / delta + 0.5)))
    with localcontext() as context:
        context.prec = 60
        tau, delta = Decimal(tau), Decimal(delta)
        center, edge, q = first * delta, (first + Decimal("0.5")) * delta, (-delta).exp()

        def beyond(a):
            return (-a).exp() * ((a - center) ** 2 + 2 * (a - center) + 2)

        cell = (1 - q) * (delta * delta / 4 + 2) - (1 + q) * delta
        return float(beyond(tau) - beyond(edge) + (-edge).exp() * cell / (1 - q))


@pytest.mark.parametrize("delta", [9e-4, 1e-2, 0.0199, 0.0201, 0.3, 4.0])
@pytest.mark.parametrize("tau", [1e-9, 1e-5, 1e-3, 0.0199, 0.0201, 1.0])
def test_cancellation_at_small_arguments(tau, delta):
    """delta^2 / 12 as a difference of numbers near 2: 7 digits are left at the finest step of the table, 9e-4."""
    assert laplace.survivor_error(tau, delta, np.inf) == pytest.approx(exact_survivor_error(tau, delta), rel=1e-7, abs=0)


@pytest.mark.parametrize("x", [1e-9, 1e-6, 1e-3, 0.0199, 0.0201])
def test_third_powers_keep_their_digits(x):
    """x^3 / 3 and x^3 / 12, relative to themselves: 1e-12 is much beside them."""
    with localcontext() as context:
        context.prec = 60
        d = Decimal(x)
        pruning = 2 - (-d).exp() * (d * d + 2 * d + 2)
        cell = (1 - (-d).exp()) * (d * d / 4 + 2) - (1 + (-d).exp()) * d
    assert laplace.pruning_error(x) == pytest.approx(float(pruning), rel=1e-8, abs=0)
    assert laplace.cell_error(x) == pytest.approx(float(cell), rel=1e-6, abs=0)


@pytest.mark.parametrize("delta", [1e-6, 1e-4, 1e-2, 1.0])
def test_entropies_of_small_steps(delta):
    """log2 e - log2 delta at high rate: h(q) / (1 - q) with q = e^-delta, where 1 - q has lost half its digits."""
    with localcontext() as context:
        context.prec = 60
        q = (-Decimal(delta)).exp()
        p = 1 - q
        exact = float(-(p.ln() + q * q.ln() / p) / Decimal(2).ln())
    assert laplace.level_entropy(0.5 * delta, delta) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("multiplier", [1e-9, 1e-6, 1e-3, 1.0, 1e3])
def test_the_step_of_the_centroids_at_small_multipliers(multiplier):
    """delta coth(delta / 2) - 2 is delta^2 / 6 there, beside 2."""
    delta = laplace.centroid_step(multiplier)
    with localcontext() as context:
        context.prec = 60
        growth = Decimal(float(delta)).exp()
        ours = Decimal(float(delta)) * (growth + 1) / (growth - 1) - 2
        assert float(ours) == pytest.approx(multiplier / np.log(2), rel=1e-5)


@pytest.mark.parametrize("large", [700.0, 1e3, 1e5])
def test_overflow_at_large_arguments(large):
    """e^tau and q^K leave the numbers there. Everything is pruned, or has the first level; warnings are errors here."""
    assert laplace.pruning_error(large) == 2.0
    assert laplace.distortion(large, 1.0) == pytest.approx(2.0)
    assert laplace.rate(large, 1.0) == pytest.approx(0.0, abs=1e-9)
    assert laplace.rate(large, large) == pytest.approx(0.0, abs=1e-9)
    assert laplace.level_entropy(0.0, large) == pytest.approx(0.0, abs=1e-9)
    for levels in (1, 7, 127, np.inf):
        assert np.isfinite(laplace.survivor_error(0.5, large, levels))
    assert laplace.centroid_step(large) == pytest.approx(2.0 + large / np.log(2), rel=1e-6)


def test_multipliers_beyond_the_table_are_its_ends():
    table = laplace.joint_table()
    for multiplier, end in ((0.0, 0), (1e-300, 0), (1e300, -1), (np.inf, -1)):
        np.testing.assert_allclose(np.log(table.at(multiplier)), [table.log_tau[end], table.log_delta[end]], rtol=1e-12)


def test_sums_do_not_depend_on_float32_accumulation():
    """1e7 weights: a running float32 sum of them stops at 2^24 ulps, and is off by a tenth of a per cent and more."""
    count = 10_000_000
    w = np.full((10, count // 10), np.float32(0.1), dtype=np.float32)
    w[:, ::3] = np.float32(0.7)
    w[:, ::1000] = 0.0
    exact = w[0].astype(np.float64)
    layer = measure("w", w, 0, "none", True)
    assert layer.mean == pytest.approx(exact.mean(), rel=1e-12)
    assert layer.energy == pytest.approx(np.square(exact).mean(), rel=1e-12)
    assert layer.tail[0] == layer.nonzeros == 10 * np.count_nonzero(exact)
    # 0.7 lies between two bins.
    middle = int(0.5 / layer.bin_width)
    assert layer.tail[middle] == 10 * np.count_nonzero(exact > 0.5)
    np.testing.assert_allclose(channel_scales(w, 0), np.sqrt(np.square(exact).mean()), rtol=2.0**-8)


def test_more_bits_than_31_bits_count():
    """A layer of 2^40 weights beside a small one."""

    def layer(name, count):
        return LayerStatistics(name, (1024, count // 1024), 0, "none", count, count, 1.0, 1.0, 1e-9, 20.0, 2.0, None, 0.0)

    problem = JointProblem([layer("huge", 2**40), layer("small", 2**14)])
    target = 2**40 / 4.0
    found = problem.allocate(problem.solve(target))
    assert sum(a.predicted_bytes for a in found) == pytest.approx(target, rel=1e-5)
    assert found[0].bits == pytest.approx(2.0, rel=1e-4)
