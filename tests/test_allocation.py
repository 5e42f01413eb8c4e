"""The allocation: budgets met, identities of the method, brute force on small problems, and hostile input."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import opq
from opq import laplace
from opq.budget import Budget
from opq.joint import JointProblem
from opq.problem import fixed_codebooks
from opq.statistics import LayerStatistics, measure


def laplace_layers(sizes, seed=0, channels=10):
    """Layers whose scale differs from layer to layer and from channel to channel."""
    rng = np.random.default_rng(seed)
    return {
        f"layer{i}": (
            10.0 ** rng.normal() * np.exp(rng.normal(size=(channels, 1))) * rng.laplace(size=(channels, n // channels))
        ).astype(np.float32)
        for i, n in enumerate(sizes)
    }


def realised_sparsity(weights, allocation):
    codes = [opq.quantize(w, allocation[name]).codes for name, w in weights.items()]
    return sum((c == 0).sum() for c in codes) / sum(c.size for c in codes)


SIZES = [3000, 20000, 300000, 50000]


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_sparsity_is_met(sparsity, bits):
    weights = laplace_layers(SIZES)
    allocation = opq.allocate(weights, sparsity=sparsity, bits=bits)
    assert realised_sparsity(weights, allocation) == pytest.approx(sparsity, abs=2e-4)
    assert allocation.sparsity == pytest.approx(sparsity, abs=2e-4)
    assert {layer.levels for layer in allocation.values()} <= {1, 2 ** (bits - 1) - 1}


def test_thresholds_follow_the_square_root_of_the_size():
    """t_i = sqrt(mu / w_i) with w_i = 1 / (N_i b_i^2): tau_i / sqrt(N_i) is one number."""
    weights = laplace_layers(SIZES)
    allocation = opq.allocate(weights, sparsity=0.7, bits=4, channel_scale="none")
    ratios = [allocation[name].threshold / (np.abs(w).mean(dtype=np.float64) * np.sqrt(w.size)) for name, w in weights.items()]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-5)


def test_stage_one_is_optimal_for_any_density():
    """No other thresholds of the same total sparsity have less weighted pruning error; the density is not Laplace."""
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=4000), rng.uniform(-3, 3, size=9000), rng.standard_t(3, size=2000)]
    named = {str(i): w.reshape(10, -1).astype(np.float32) for i, w in enumerate(weights)}
    allocation = opq.allocate(named, sparsity=0.6, bits=4, channel_scale="none")
    importance = [1 / (w.size * np.abs(w).mean() ** 2) for w in weights]

    def cost(counts):
        """Weighted error of pruning that many of the smallest weights of each layer."""
        return sum(
            v * np.interp(c, np.arange(w.size + 1), np.concatenate([[0], np.cumsum(np.sort(np.abs(w)) ** 2)]))
            for v, w, c in zip(importance, weights, counts, strict=True)
        )

    ours = [(opq.quantize(w, allocation[name]).codes == 0).sum() for name, w in named.items()]
    total = sum(ours)
    sizes = [w.size for w in weights]
    best = minimize(
        lambda c: cost([*c, total - sum(c)]),
        [total * s / sum(sizes) for s in sizes[:-1]],
        method="Nelder-Mead",
        options={"maxiter": 2000, "xatol": 0.1, "fatol": 1e-12},
    )
    assert cost(ours) <= best.fun * (1 + 1e-3)


def test_joint_is_optimal_against_a_constrained_optimiser():
    """On three layers, SLSQP over all thresholds and steps finds no allocation of the same bits with less error."""
    layers = [measure(name, w, 0, "none", False) for name, w in laplace_layers([4000, 40000, 9000]).items()]
    problem = JointProblem(layers)
    target = 0.3 * sum(layer.count for layer in layers)
    found = problem.allocate(problem.solve(target))
    counts = np.array([layer.count for layer in layers], dtype=float)

    def split(p):
        delta = np.exp(p[:3])
        return 1.5 * delta / (1 + np.exp(-p[3:])), delta  # 0 < tau < 1.5 delta

    def error(p):
        return float(laplace.distortion(*split(p)).sum())  # w_i N_i b_i^2 = 1

    def spent(p):
        return target - float(counts @ laplace.rate(*split(p))) / 8

    results = [
        minimize(
            error, [s, s, s, 0, 0, 0], constraints={"type": "ineq", "fun": spent}, method="SLSQP", options={"maxiter": 500}
        )
        for s in (-1.5, -0.5, 0.5)
    ]
    best = min(r.fun for r in results if spent(r.x) > -1.0)
    ours = sum(a.distortion * layer.energy / layer.mean**2 for a, layer in zip(found, layers, strict=True))
    assert ours <= best * (1 + 1e-3)


def test_rates_depend_on_size_only():
    """w_i = 1 / (N_i b_i^2): rescaling a layer changes thresholds and steps in proportion, and nothing else."""
    weights = laplace_layers(SIZES)
    scaled = {name: w * np.float32(2.0**i) for i, (name, w) in enumerate(weights.items())}
    for budget in ({"ratio": 10}, {"sparsity": 0.8, "bits": 4}):
        a = opq.allocate(weights, channel_scale="none", **budget)
        b = opq.allocate(scaled, channel_scale="none", **budget)
        for i, name in enumerate(weights):
            assert b[name].step == pytest.approx(a[name].step * 2.0**i, rel=1e-4)
            assert b[name].bits == pytest.approx(a[name].bits, rel=1e-4)


def test_order_type_and_memory_order_change_nothing():
    weights = {name: w.astype(np.float16).astype(np.float32) for name, w in laplace_layers(SIZES).items()}
    a = opq.allocate(weights, ratio=12)
    reversed_order = opq.allocate(dict(reversed(weights.items())), ratio=12)
    variants = {
        "double": {n: w.astype(np.float64) for n, w in weights.items()},
        "half": {n: w.astype(np.float16) for n, w in weights.items()},
        "big endian": {n: w.astype(">f4") for n, w in weights.items()},
    }
    for name in weights:
        assert reversed_order[name].step == pytest.approx(a[name].step, rel=1e-5)
    for kind, variant in variants.items():
        b = opq.allocate(variant, ratio=12)
        assert [vars(b[n]) for n in weights] == [vars(a[n]) for n in weights], kind
        for n in weights:
            np.testing.assert_array_equal(opq.quantize(variant[n], b[n]).codes, opq.quantize(weights[n], a[n]).codes)
    fortran = {n: np.asfortranarray(w) for n, w in weights.items()}
    b = opq.allocate(fortran, ratio=12)
    for n in weights:
        assert b[n].step == pytest.approx(a[n].step, rel=1e-6)
        np.testing.assert_array_equal(opq.quantize(fortran[n], a[n]).codes, opq.quantize(weights[n], a[n]).codes)


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    w = np.random.default_rng(0).normal(size=(32, 90)).astype(ml_dtypes.bfloat16)
    q = opq.quantize(w, opq.allocate({"w": w}, bits=8, sparsity=0.0)["w"])
    same = opq.quantize(w.astype(np.float32), opq.allocate({"w": w.astype(np.float32)}, bits=8, sparsity=0.0)["w"])
    np.testing.assert_array_equal(q.codes, same.codes)


@given(st.floats(1.6, 200.0), st.floats(1.05, 4.0))
@settings(max_examples=30)
def test_a_smaller_budget_gives_no_more_bits_and_no_less_error(ratio, factor):
    weights = laplace_layers([30000, 8000], seed=3)
    try:
        a, b = (opq.allocate(weights, ratio=r) for r in (ratio, ratio * factor))
    except opq.BudgetError:
        return
    for name in weights:
        assert b[name].bits <= a[name].bits * (1 + 1e-6)
        assert b[name].distortion >= a[name].distortion * (1 - 1e-6)


def test_predictions_hold_on_laplace_weights():
    weights = laplace_layers([40000, 400000, 100000], seed=5, channels=20)
    for budget in ({"ratio": 8}, {"ratio": 16}, {"sparsity": 0.9, "bits": 4}, {"sparsity": 0.3, "bits": 3}):
        for name, layer in opq.allocate(weights, **budget).items():
            q = opq.quantize(weights[name], layer)
            scale = q.scale[:, None]
            noise = np.square((weights[name] - q.dequantize()) / scale).sum() / np.square(weights[name] / scale).sum()
            counts = np.bincount(q.codes.ravel().astype(int) + 127)
            p = counts[counts > 0] / q.size
            assert layer.sparsity == pytest.approx(q.sparsity, abs=0.01)
            assert layer.distortion == pytest.approx(noise, rel=0.06)
            assert layer.bits == pytest.approx(-(p * np.log2(p)).sum(), rel=0.03)


def test_pruned_weights_keep_their_zeros():
    rng = np.random.default_rng(2)
    w = rng.normal(size=(64, 200)).astype(np.float32)
    w[np.abs(w) < 1.5] = 0
    w[0], w[1, 1:] = 0, 0
    for bits in range(2, 9):
        q = opq.quantize(w, opq.allocate({"w": w}, bits=bits)["w"])
        np.testing.assert_array_equal(q.codes != 0, w != 0)
        np.testing.assert_array_equal(np.sign(q.codes), np.sign(w))


def synthetic_statistics(rng, name, count):
    b = float(np.exp(rng.normal()))
    tail = count * np.exp(-np.arange(4097) * 32 / 4096)
    return LayerStatistics(name, (10, count // 10), 0, "rms", count, count, b, b, 1e-9, 14 * b, 2 * b * b, tail, 32 * b / 4096)


def test_solving_is_fast():
    """200 layers of 1 M weights: both solvers take milliseconds. The limit is generous; benchmarks measure."""
    rng = np.random.default_rng(0)
    layers = [synthetic_statistics(rng, str(i), 1_000_000) for i in range(200)]
    problem = JointProblem(layers)
    stagewise = Budget(sparsity=0.9, bits=4)
    for solve in (
        lambda: problem.allocate(problem.solve(40e6)),
        lambda: fixed_codebooks(layers, stagewise, "nsr", {}, 1.0),
    ):
        solve()
        started = time.process_time()
        assert len(solve()) == 200
        assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "none"),
        ({"sparsity": 0.5}, "sparsity"),
        ({"ratio": 8, "size": 100}, "size and ratio"),
        ({"ratio": 8, "bits": 4}, "bits and ratio"),
        ({"sparsity": -0.1, "bits": 4}, "sparsity"),
        ({"sparsity": 1.1, "bits": 4}, "sparsity"),
        ({"sparsity": float("nan"), "bits": 4}, "sparsity"),
        ({"sparsity": 0.5, "bits": 1}, "bits"),
        ({"sparsity": 0.5, "bits": 9}, "bits"),
        ({"sparsity": 0.5, "bits": 4.5}, "bits"),
        ({"bits": True}, "bits"),
        ({"ratio": 0}, "ratio"),
        ({"ratio": -3}, "ratio"),
        ({"ratio": float("nan")}, "ratio"),
        ({"ratio": float("inf")}, "ratio"),
        ({"ratio": "12"}, "ratio"),
        ({"size": 0}, "size"),
        ({"size": -1}, "size"),
        ({"size": "lots"}, "size"),
        ({"size": "2 furlongs"}, "size"),
        ({"size": "nan"}, "size"),
        ({"ratio": 1e8}, "not reachable"),
        ({"ratio": 1.0}, "not reachable"),
    ],
)
def test_impossible_budgets_are_refused_in_one_line(arguments, words):
    with pytest.raises(opq.BudgetError, match=words) as caught:
        opq.allocate(laplace_layers([3000]), **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_weights_name_the_layer(bad):
    weights = laplace_layers([3000, 3000])
    weights["layer1"][3, 7] = bad
    with pytest.raises(ValueError, match=r"layer 'layer1': weight \(3, 7\)"):
        opq.allocate(weights, ratio=8)


def test_other_weights_that_cannot_be_layers():
    for array, words in (
        (np.zeros((2, 0)), "no weights"),
        (np.zeros(3, int), "int64"),
        (np.array(["a"]), "<U1"),
        (np.zeros(2, complex), "complex"),
    ):
        with pytest.raises(ValueError, match=words):
            opq.allocate({"w": array}, bits=4)
    with pytest.raises(ValueError, match="no weights were given"):
        opq.allocate({}, bits=4)
    with pytest.raises(ValueError, match=r"overflow|finite"):
        opq.allocate({"w": np.array([1e300])}, bits=4)
    with pytest.raises(ValueError, match="axis 2"):
        opq.allocate({"w": np.ones((2, 2))}, bits=4, axis=2)
    with pytest.raises(ValueError, match="channel_scale"):
        opq.allocate({"w": np.ones((2, 2))}, bits=4, channel_scale="max")


DEGENERATE = {
    "zeros": np.zeros((4, 5)),
    "constant": np.full((4, 5), -2.5),
    "one weight": np.array([[3.0]]),
    "a vector": np.arange(5.0),
    "a scalar": np.float32(2.0),
    "subnormal": np.full((3, 4), 1e-42),
    "huge range": np.array([[1e30, 1.0, 2.0], [0.0, 0.0, 0.0], [1e-30, 2e-30, -1e-30]]),
    "two values": np.where(np.arange(40).reshape(4, 10) % 3 == 0, 0.5, -0.5),
}


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize(
    "arguments", [{"bits": 2}, {"bits": 8, "sparsity": 0.0}, {"bits": 4, "sparsity": 0.5}, {"bits": 3, "sparsity": 1.0}]
)
@pytest.mark.filterwarnings("error")
def test_degenerate_layers_give_a_right_result(name, arguments):
    w = DEGENERATE[name]
    layer = opq.allocate({"w": w, "other": np.linspace(-1, 1, 5000).reshape(50, 100)}, **arguments)["w"]
    q = opq.quantize(w, layer)
    values = q.dequantize()
    assert np.isfinite(values).all()
    assert (values * np.reshape(w, values.shape) >= 0).all()
    assert np.isfinite([layer.threshold, layer.step, layer.bits, layer.distortion]).all()
    if arguments in ({"bits": 2}, {"bits": 8, "sparsity": 0.0}):
        np.testing.assert_array_equal(values != 0, np.reshape(w, values.shape) != 0)
    if name in ("constant", "one weight", "a scalar", "two values") and arguments == {"bits": 2}:
        np.testing.assert_allclose(values, np.reshape(w, values.shape), rtol=1e-6)
