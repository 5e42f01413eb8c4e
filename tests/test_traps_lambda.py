"""Traps of an allocation. One number, lambda, over layers of all scales: brackets, roots, bounds, sizes that move in steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import laplace_layers, measured

import opq
from opq import laplace
from opq.joint import JointProblem, least_density
from opq.weighting import units

# One number, lambda, over layers of all scales


@pytest.mark.parametrize("weighting", ["nsr", "one", "count", "rate"])
def test_bracket_spans_decades_of_scales(weighting):
    """b from 1e-30 to 1e30: bytes fall all along the bracket, and inside it every size is met."""
    rng = np.random.default_rng(0)
    shapes = {-30: 60, -10: 600, 0: 3000, 10: 800, 30: 60}
    weights = {str(e): (10.0**e * rng.laplace(size=(40, n))).astype(np.float32) for e, n in shapes.items()}
    layers = measured(weights)
    problem = JointProblem(layers, units(layers, weighting, {}))
    ends = problem.range()
    sizes = [problem.predicted_bytes(x) for x in np.linspace(*ends, 500)]
    assert (np.diff(sizes) <= 1e-9).all()
    for target in np.geomspace(sizes[-1] * 1.001, sizes[0] * 0.999, 20):
        assert problem.predicted_bytes(problem.solve(target)) == pytest.approx(target, rel=1e-4)
    for target in (sizes[0] * 1.001, sizes[-1] * 0.999):
        with pytest.raises(opq.BudgetError, match="not reachable"):
            problem.solve(target)


def test_weights_may_be_as_far_apart_as_layers():
    weights = laplace_layers()
    found = opq.allocate(weights, ratio=12, layer_weight={"l0": 1e12, "l2": 1e-12}, channel_scale="none")
    assert found["l0"].levels == 127
    assert found["l2"].sparsity == pytest.approx(0.98, abs=1e-6)
    assert 4 * sum(w.size for w in weights.values()) / sum(a.predicted_bytes for a in found.values()) == pytest.approx(12)


def test_threshold_takes_the_upper_root():
    """tau^2 - (tau - delta)^2 = l log2(2 p0 / p1) holds for a tau near 0 as well, where it is a maximum of the cost."""
    table = laplace.joint_table()
    for multiplier, tau, delta in zip(*np.exp([table.log_multiplier, table.log_tau, table.log_delta]), strict=True):

        def difference(x, multiplier=multiplier, delta=delta):
            p0, p1 = -np.expm1(-x), -np.exp(-x) * np.expm1(x - 1.5 * delta)
            return delta * (2.0 * x - delta) - multiplier * np.log2(2.0 * p0 / p1)

        def cost(x, multiplier=multiplier, delta=delta):
            return laplace.distortion(x, delta) + multiplier * laplace.rate(x, delta)

        grid = np.concatenate([np.geomspace(1e-12, 0.1, 500) * delta, np.linspace(0.1, 1.4999, 4000) * delta])
        changes = np.flatnonzero(np.diff(np.sign(difference(grid))))
        assert grid[changes[-1]] <= tau * (1 + 1e-9)
        assert tau <= grid[changes[-1] + 1] * (1 + 1e-9)
        if len(changes) > 1:
            assert cost(tau) < cost(grid[changes[0]])
        assert cost(tau) <= cost(grid).min() * (1 + 1e-9)


@pytest.mark.parametrize("weighting", ["one", "count"])
def test_saturated_layers_are_capped_and_the_rest_resolved(weighting):
    """With w = 1 the layer of small weights would be cut through: it stays at its bound, the others spend the bytes."""
    rng = np.random.default_rng(0)
    weights = {
        "large": rng.laplace(size=(40, 1000)),
        "small": 1e-5 * rng.laplace(size=(40, 1000)),
        "mid": rng.laplace(size=(40, 500)),
    }
    found = opq.allocate(weights, ratio=20, weighting=weighting, channel_scale="none")
    assert found["small"].sparsity == pytest.approx(0.98, abs=1e-6)
    assert 4 * 100_000 / sum(layer.predicted_bytes for layer in found.values()) == pytest.approx(20, rel=1e-5)
    without = {name: w for name, w in weights.items() if name != "small"}
    left = 4 * 100_000 / 20 - found["small"].predicted_bytes
    for name, layer in opq.allocate(without, size=left, weighting=weighting, channel_scale="none").items():
        assert layer.step == pytest.approx(found[name].step, rel=1e-4)
        assert layer.threshold == pytest.approx(found[name].threshold, rel=1e-4)


def test_a_weight_per_channel_survives_on_average():
    """Depthwise 3x3: 98 % would leave less than a fifth of a weight."""
    rng = np.random.default_rng(0)
    weights = {"depthwise": rng.laplace(size=(400, 1, 3, 3)), "pointwise": 100 * rng.laplace(size=(400, 400, 1, 1))}
    layer = opq.allocate(weights, ratio=150, weighting="one", channel_scale="none")["depthwise"]
    assert layer.sparsity == pytest.approx(1 - 1 / 9, abs=1e-6)
    statistics = measured({"w": weights["depthwise"].astype(np.float32)})[0]
    assert least_density(statistics) == pytest.approx(1 / 9)


# Sizes


@given(st.integers(600, 9000), st.sampled_from([{}, {"sparsity": 0.5}]))
@settings(max_examples=20)
def test_tiny_network_staircase_stays_below_target(target, first):
    """A network of 3,000 weights has no file of every size: the file is smaller, or the size is refused."""
    weights = {"a": np.random.default_rng(0).laplace(size=(48, 52)), "b": np.random.default_rng(1).laplace(size=(10, 48))}
    try:
        model = opq.compress(weights, size=target, **first)
    except opq.BudgetError:
        return
    assert model.file_bytes <= target


@pytest.mark.parametrize("budget", [{"ratio": 7}, {"ratio": 20}, {"ratio": 14, "sparsity": 0.7}], ids=str)
@pytest.mark.parametrize("scaling", ["none", "rms"])
def test_predicted_size_is_close(budget, scaling):
    """The coder's bytes are within 4 % of those that the allocation was solved for, layer by layer, on Laplace weights."""
    weights = laplace_layers((400_000, 90_000))
    for name, layer in opq.allocate(weights, channel_scale=scaling, **budget).items():
        real = len(opq.codec.encode(opq.quantize(weights[name], layer).codes)) + (40 if scaling == "rms" else 0)
        assert real == pytest.approx(layer.predicted_bytes, rel=0.04)


def test_allocate_stays_below_a_size_that_jumps():
    weights = {
        "a": np.random.default_rng(0).uniform(-1, 1, size=(50, 1200)),
        "b": np.random.default_rng(1).uniform(-1, 1, (50, 400)),
    }
    for ratio in (13, 16, 22, 28):
        allocation = opq.allocate(weights, ratio=ratio, distribution="histogram", channel_scale="none")
        assert sum(layer.predicted_bytes for layer in allocation.values()) <= 4 * 80_000 / ratio
