"""Where the numbers of an allocation go wrong if nobody watches: degenerate layers, far scales, cancellation, saturation, sums.

Traps that the tests of a module close already are not closed here again: ties and negative zeros of the codes in
test_quantization.py, NaN, infinity and byte order in test_allocation.py, wrong wiring in test_repair.py.
"""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import opq
from opq import laplace
from opq.joint import SMALL_LAYER, JointProblem, least_density
from opq.statistics import LayerStatistics, measure
from opq.weighting import units
from opq.weights import channel_scales

BUDGETS = {
    "ratio": {"ratio": 12},
    "histogram": {"ratio": 12, "distribution": "histogram"},
    "sparsity and bits": {"sparsity": 0.7, "bits": 4},
    "sparsity and mean bits": {"sparsity": 0.7, "mean_bits": 3.5},
    "sparsity and ratio": {"sparsity": 0.7, "ratio": 14},
    "macs and bits": {"macs": 0.3, "bits": 3},
    "bits": {"bits": 5},
}


def laplace_layers(sizes=(4000, 40000, 9000), seed=0, channels=20):
    """Layers of different scales, in numbers that float16 holds."""
    rng = np.random.default_rng(seed)
    return {
        f"l{i}": (np.exp(rng.normal()) * rng.laplace(size=(channels, n // channels))).astype(np.float16).astype(np.float32)
        for i, n in enumerate(sizes)
    }


def measured(named, histogram=False):
    return [measure(name, w, 0, "none", histogram) for name, w in named.items()]


# Layers without a distribution


@pytest.mark.parametrize("scaling", ["none", "rms"])
@pytest.mark.parametrize("weighting", ["nsr", "one", "count", "rate"])
@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_an_all_zero_layer_and_channel(budget, weighting, scaling):
    """b = 0, and w = 1 / (N b^2) with it infinite: no bits for the layer, and the others get what is theirs."""
    weights = laplace_layers()
    weights["l1"][3] = 0
    weights["zeros"] = np.zeros((20, 500), dtype=np.float32)
    found = opq.allocate(weights, weighting=weighting, channel_scale=scaling, **budget)
    zeros = found["zeros"]
    assert (zeros.sparsity, zeros.distortion, zeros.bits) == (1.0, 0.0, 0.0)
    assert not opq.quantize(weights["zeros"], zeros).codes.any()
    tensor = opq.quantize(weights["l1"], found["l1"])
    assert not tensor.codes[3].any()
    assert np.isfinite(tensor.channel_steps()).all()
    assert tensor.codes.any()
    for layer in found.values():
        assert np.isfinite([layer.threshold, layer.step, layer.distortion, layer.bits, layer.multiplier]).all()
        assert layer.step > 0


@pytest.mark.parametrize("ratio", [10, 20])
def test_constant_layers_among_others_stay_exact(ratio):
    """One level holds them, whatever bytes are left; the Laplace formula would prune a part."""
    rng = np.random.default_rng(0)
    signs = rng.choice(np.float32([-0.3, 0.3]), size=(20, 500))
    weights = {**laplace_layers(), "binary": signs, "ternary": signs * rng.choice(np.float32([0, 1]), size=signs.shape)}
    model = opq.compress(weights, ratio=ratio, channel_scale="none")
    for name in ("binary", "ternary"):
        assert model[name].levels == 1
        np.testing.assert_array_equal(model[name].dequantize(), weights[name])
    assert 0.98 <= model.file_bytes * ratio / (4 * sum(w.size for w in weights.values())) <= 1.0


def test_few_valued_layers_are_predicted_within_a_bit():
    """Seven values: nothing of the Laplace shape is left, and still the size is met from below."""
    rng = np.random.default_rng(0)
    weights = {**laplace_layers(), "seven": rng.integers(-3, 4, size=(20, 1000)).astype(np.float32)}
    model = opq.compress(weights, ratio=9, channel_scale="none")
    assert 0.98 <= model.file_bytes * 9 / (4 * sum(w.size for w in weights.values())) <= 1.0
    layer = opq.allocate(weights, ratio=9, channel_scale="none")["seven"]
    assert layer.bits == pytest.approx(np.log2(7), abs=1.0)


# Small layers, outliers


@pytest.mark.parametrize("ratio", [12, 30])
def test_tiny_layers_get_eight_bits(ratio):
    """Whatever the budget and the weighting say: their statistics are uncertain, and their bytes do not matter."""
    rng = np.random.default_rng(0)
    weights = {"large": rng.laplace(size=(100, 2000)), "tiny": rng.laplace(size=(23, 89)), "other": rng.laplace(size=(32, 64))}
    assert weights["tiny"].size == SMALL_LAYER - 1
    assert weights["other"].size == SMALL_LAYER
    for factor in (1e-6, 1.0, 1e6):
        found = opq.allocate(weights, ratio=ratio, layer_weight={"tiny": factor}, channel_scale="none")
        assert found["tiny"].levels == 127
        assert found["tiny"].step == pytest.approx(np.abs(weights["tiny"]).max() / 127, rel=1e-6)
        # Half a step is all that is pruned: uniform quantization.
        assert found["tiny"].threshold == pytest.approx(found["tiny"].step / 2, rel=1e-6)
    assert found["other"].levels < 127


@pytest.mark.parametrize("budget", [{"ratio": 6.0}, {"sparsity": 0.2, "ratio": 7.0}], ids=["joint", "after a sparsity"])
@pytest.mark.parametrize("scaling", ["none", "rms"])
def test_indices_beyond_int8_are_held_not_clipped(budget, scaling):
    """An outlier of 100 standard deviations and a high rate: the step grows to its 127th part, no weight is cut off."""
    weights = laplace_layers((4000, 40000))
    weights["l0"][5, 7] = 100 * weights["l0"].std()
    found = opq.allocate(weights, channel_scale=scaling, **budget)["l0"]
    tensor = opq.quantize(weights["l0"], found)
    scales = 1.0 if tensor.scale is None else tensor.scale[:, None]
    kept = tensor.codes != 0
    error = np.abs(tensor.dequantize() - weights["l0"])[kept] / np.broadcast_to(scales * found.step, kept.shape)[kept]
    assert np.abs(tensor.codes.astype(int)).max() == tensor.codes[5, 7] == 127
    # Half a step, or from the threshold up to the first level.
    assert error.max() <= max(0.5, 1.0 - found.threshold / found.step) * (1 + 1e-4)


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


# Arithmetic


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


# Arrays of all kinds


def gappy(w):
    """The same values with gaps between them, backwards in memory."""
    wide = np.zeros((w.shape[0], 2 * w.shape[1]), dtype=w.dtype)
    view = wide[::-1, ::-2]
    view[:] = w
    return view


def unaligned(w):
    """The same values at addresses that no float32 may have."""
    memory = np.zeros(w.nbytes + 1, dtype=np.uint8)
    view = memory[1:].view(np.float32).reshape(w.shape)
    view[:] = w
    return view


SAME_NUMBERS = {
    "double": lambda w: w.astype(np.float64),
    "half": lambda w: w.astype(np.float16),
    "big-endian double": lambda w: w.astype(">f8"),
    "big-endian half": lambda w: w.astype(">f2"),
    "Fortran order": np.asfortranarray,
    "gaps": gappy,
    "unaligned": unaligned,
}


@pytest.mark.parametrize(
    "budget", [b for name, b in BUDGETS.items() if name != "ratio"], ids=[n for n in BUDGETS if n != "ratio"]
)
def test_type_and_memory_order_change_nothing(budget):
    """test_allocation.py holds this for a ratio."""
    weights = laplace_layers()
    expected = opq.allocate(weights, **budget)
    codes = {name: opq.quantize(w, expected[name]).codes for name, w in weights.items()}
    for kind, convert in SAME_NUMBERS.items():
        variant = {name: convert(w) for name, w in weights.items()}
        found = opq.allocate(variant, **budget)
        for name, w in variant.items():
            assert vars(found[name]) == vars(expected[name]), kind
            np.testing.assert_array_equal(opq.quantize(w, found[name]).codes, codes[name])


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
@given(order=st.permutations(range(4)))
@settings(max_examples=4)
def test_the_order_of_the_layers_changes_nothing(budget, order):
    weights = list(laplace_layers((4000, 40000, 9000, 3000)).items())
    expected = opq.allocate(dict(weights), **budget)
    shuffled = [weights[i] for i in order]
    found = opq.allocate(dict(shuffled), **budget)
    assert list(found) == [name for name, _ in shuffled]
    for name in expected:
        assert found[name].step == pytest.approx(expected[name].step, rel=1e-5)
        assert found[name].threshold == pytest.approx(expected[name].threshold, rel=1e-5)
        assert found[name].levels == expected[name].levels
        assert found[name].distortion == pytest.approx(expected[name].distortion, rel=1e-4)


def test_subnormal_half_precision_weights():
    """float16's smallest numbers: sums in that type would vanish or stay where they are."""
    w = (np.random.default_rng(0).laplace(size=(20, 500)) * 2.0**-22).astype(np.float16)
    layer = opq.allocate({"w": w}, sparsity=0.3, bits=3, channel_scale="none")["w"]
    tensor = opq.quantize(w, layer)
    error = np.square(tensor.dequantize() - w.astype(np.float64)).sum() / np.square(w.astype(np.float64)).sum()
    assert 0 < layer.step < 2.0**-20
    assert error < 0.1


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_negative_zeros_are_zeros(budget):
    weights = laplace_layers()
    for w in weights.values():
        w.reshape(-1)[::3] = 0.0
    negative = {name: np.where(w == 0.0, np.float32(-0.0), w) for name, w in weights.items()}
    a, b = opq.allocate(weights, **budget), opq.allocate(negative, **budget)
    for name, w in negative.items():
        assert vars(a[name]) == vars(b[name])
        np.testing.assert_array_equal(opq.quantize(w, b[name]).codes, opq.quantize(weights[name], a[name]).codes)


def test_files_do_not_depend_on_threads(monkeypatch):
    """`compress` encodes on all cores that it may run on."""
    weights = laplace_layers((300_000, 40_000))
    files = []
    for cores in (1, 2, 5):
        monkeypatch.setattr("opq.threads.available_cores", lambda cores=cores: cores)
        files.append(opq.compress(weights, ratio=10).to_bytes())
    assert files[0] == files[1] == files[2]


# More is never worse


@given(st.floats(0.0, 0.97), st.floats(0.001, 0.2), st.integers(2, 7), st.sampled_from(["nsr", "one"]))
@settings(max_examples=15)
def test_more_zeros_or_fewer_bits_are_never_predicted_to_be_better(sparsity, more, bits, weighting):
    weights = laplace_layers()

    def allocate(sparsity, bits):
        return opq.allocate(weights, sparsity=sparsity, bits=bits, weighting=weighting, channel_scale="none")

    start, zeros, finer = allocate(sparsity, bits), allocate(min(1.0, sparsity + more), bits), allocate(sparsity, bits + 1)
    for name in weights:
        assert zeros[name].threshold >= start[name].threshold
        assert zeros[name].sparsity >= start[name].sparsity
        assert finer[name].threshold == start[name].threshold
        assert finer[name].distortion <= start[name].distortion * (1 + 1e-3)
        assert finer[name].bits >= start[name].bits * (1 - 1e-9)


@given(st.floats(2.0, 7.5), st.floats(0.01, 2.0))
@settings(max_examples=15)
def test_more_mean_bits_are_never_predicted_to_be_worse(mean_bits, more):
    """A single layer may lose bits to a larger one. The sum that is minimised may not grow."""
    weights = laplace_layers((4000, 40000, 9000, 3000))

    def error(mean_bits):
        found = opq.allocate(weights, sparsity=0.5, mean_bits=mean_bits, weighting="one", channel_scale="none")
        return sum(found[name].distortion * np.square(w, dtype=np.float64).sum() for name, w in weights.items())

    assert error(min(8.0, mean_bits + more)) <= error(mean_bits) * (1 + 1e-3)


@given(st.floats(1.0, 1.5))
@settings(max_examples=15)
def test_a_smaller_size_after_a_sparsity_is_never_predicted_to_be_better(factor):
    weights = laplace_layers()
    a, b = (opq.allocate(weights, sparsity=0.6, ratio=10 * f, channel_scale="none") for f in (1.0, factor))
    for name in weights:
        assert b[name].threshold == a[name].threshold
        assert b[name].step >= a[name].step * (1 - 1e-6)
        assert b[name].bits <= a[name].bits * (1 + 1e-6)


def test_layers_of_scales_that_no_histogram_spans_together():
    """One threshold for all lies 10^18 bins beyond the small layer."""
    rng = np.random.default_rng(0)
    weights = {"live": rng.laplace(size=(40, 100)), "dead": 1e-18 * rng.laplace(size=(40, 100))}
    result = opq.compress(weights, sparsity=0.5, bits=4, weighting="one", channel_scale="none")
    assert result["dead"].sparsity == 1
    assert result.report["totals"]["sparsity"] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("lowest", [0.9, 0.9995, 0.99999])
@pytest.mark.parametrize("sparsity", [0.5, 0.8])
def test_sparsity_of_magnitudes_that_are_almost_alike(lowest, sparsity):
    weights = {"w": np.random.default_rng(0).uniform(lowest, 1, size=(50, 400))}
    result = opq.compress(weights, sparsity=sparsity, bits=4, channel_scale="none")
    assert result["w"].sparsity == pytest.approx(sparsity, abs=0.01)


def test_predicted_error_of_pruning_magnitudes_far_from_zero():
    rng = np.random.default_rng(0)
    weights = {"w": rng.uniform(0.98, 1, size=(50, 400)), "o": rng.laplace(size=(50, 400))}
    for layer in opq.compress(weights, sparsity=0.5, ratio=14, channel_scale="none").report["layers"]:
        assert layer["predicted_error"] == pytest.approx(layer["real_error"], rel=0.5)


def test_allocate_stays_below_a_size_that_jumps():
    weights = {
        "a": np.random.default_rng(0).uniform(-1, 1, size=(50, 1200)),
        "b": np.random.default_rng(1).uniform(-1, 1, (50, 400)),
    }
    for ratio in (13, 16, 22, 28):
        allocation = opq.allocate(weights, ratio=ratio, distribution="histogram", channel_scale="none")
        assert sum(layer.predicted_bytes for layer in allocation.values()) <= 4 * 80_000 / ratio
