"""Traps of an allocation. Layers that no Laplace distribution describes: constant, all but empty, tiny, with outliers."""

import numpy as np
import pytest
from layers import BUDGETS, laplace_layers

import opq
from opq.joint import SMALL_LAYER

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
