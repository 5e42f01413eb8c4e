"""Masks and codebooks fixed: projection, gradient, and the file of weights that were trained."""

import dataclasses
import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_compression import mapping, network
from test_repair import trained as network_with_batch_norm

import opq
from opq.fixed_layer import FixedLayer
from opq.quantization import QuantizedTensor
from opq.settings import Settings

finite = st.floats(-1e6, 1e6, width=32)


def layer_weights():
    rng = np.random.default_rng(0)
    weights = {"conv": rng.laplace(size=(16, 8, 3, 3)).astype(np.float32), "fc": rng.laplace(size=(10, 300))}
    return weights, opq.allocate(weights, sparsity=0.7, bits=3)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("budget", [{"sparsity": 0.7, "bits": 3}, {"ratio": 8}, {"bits": 2}])
def test_the_first_codes_are_those_of_the_allocation(axis, budget):
    weights, _ = layer_weights()
    weights["conv"][0, 0] = 0
    allocation = opq.allocate(weights, **budget, axis=axis)
    fixed = opq.FixedCompression(weights, allocation)
    for name, w in weights.items():
        quantized = opq.quantize(w, allocation[name])
        np.testing.assert_array_equal(fixed.codes(name, w), quantized.codes)
        np.testing.assert_array_equal(fixed.project(name, w), quantized.dequantize())


def test_rate_aware_masks_are_not_those_of_the_threshold():
    weights, _ = layer_weights()
    allocation = opq.allocate(weights, ratio=12)
    fixed = opq.FixedCompression(weights, allocation, rounding="rate")
    for name, w in weights.items():
        codes = opq.quantize(w, allocation[name], rounding="rate").codes
        np.testing.assert_array_equal(fixed.codes(name, w) != 0, codes != 0)
    assert fixed != opq.FixedCompression(weights, allocation)


@given(
    hnp.arrays(np.float32, (4, 5), elements=finite), hnp.arrays(np.bool_, (4, 5)), st.floats(2.0**-10, 1e5, width=32),
    st.integers(1, 127), st.lists(st.floats(2.0**-5, 32, width=32), min_size=4, max_size=4) | st.none(),
)  # fmt: skip
def test_survivors_take_the_nearest_codeword_other_than_zero(w, mask, step, levels, scale):
    scale = None if scale is None else np.array(scale, dtype=np.float32)
    layer = FixedLayer(mask, step, levels, scale, None if scale is None else 0)
    tensor = layer.quantize(w)
    np.testing.assert_array_equal(tensor.codes != 0, mask)
    np.testing.assert_array_equal(np.signbit(tensor.codes[mask]), np.signbit(w[mask]))
    assert np.abs(tensor.codes).max(initial=0) <= levels
    unit = np.float64(step) * (1.0 if scale is None else scale.astype(np.float64)[:, None]) * np.ones(w.shape)
    exact = np.abs(w.astype(np.float64)) / unit
    chosen = np.abs(np.abs(tensor.codes) - exact)
    best = np.abs(np.arange(1, levels + 1)[:, None, None] - exact).min(axis=0)
    assert (chosen <= best + 1e-6 * exact + 1e-9)[mask].all()
    np.testing.assert_array_equal(layer.quantize(tensor.dequantize()).codes, tensor.codes)


def test_the_gradient_rule():
    """Rows: weights of step 1 and two levels; columns: gradients. Training moves a weight against its gradient."""
    layer = QuantizedTensor(np.array([1, 1, 1, 1, 1, 0], np.int8), 1.0, 2)
    fixed = opq.FixedCompression.of({"w": layer})
    w = np.array([2.5, 2.6, -2.6, 0.0, -0.1, 9.0], dtype=np.float32)  # 2.5 is rounded to 2
    np.testing.assert_array_equal(fixed.project("w", w), [2, 2, -2, 1, -1, 0])
    for sign in (1.0, -1.0):
        g = np.full(6, sign)
        passes = [True, sign > 0, sign < 0, True, True, False]
        np.testing.assert_array_equal(fixed.gradient("w", w, g), np.where(passes, g, 0.0))
    assert fixed.gradient("w", w, np.zeros(6, np.float32)).dtype == np.float32


def test_a_clipped_weight_comes_back_and_goes_no_further():
    fixed = opq.FixedCompression.of({"w": QuantizedTensor(np.ones(2, np.int8), 1.0, 3)})
    w, start = np.array([4.0, 4.0], np.float32), np.array([4.0, 4.0])
    target = np.array([1.0, 9.0])
    for _ in range(200):
        w -= np.float32(0.1) * fixed.gradient("w", w, (fixed.project("w", w) - target).astype(np.float32))
    np.testing.assert_array_equal(fixed.codes("w", w), [1, 3])
    assert w[1] == start[1]


@given(st.integers(0, 99), st.booleans())
def test_saved_and_loaded_are_equal_bit_for_bit(tmp_path_factory, seed, channel_scale):
    rng = np.random.default_rng(seed)
    weights = {"a/b.weight": rng.laplace(size=(8, 30)), "c": rng.laplace(size=(5, 7, 3, 3))}
    allocation = opq.allocate(weights, sparsity=0.7, bits=4, channel_scale="rms" if channel_scale else "none")
    fixed = opq.FixedCompression(weights, allocation)
    path = tmp_path_factory.mktemp("fixed") / "fixed.opq"
    fixed.save(path)
    loaded = opq.FixedCompression.load(path)
    assert loaded == fixed
    assert path.stat().st_size < 1000
    for name, w in weights.items():
        np.testing.assert_array_equal(loaded.project(name, w), fixed.project(name, w))


def test_layers_differ_in_any_bit():
    layer = FixedLayer(np.ones((2, 2), bool), 0.5, 3, np.ones(2, np.float32), 0)
    others = [
        {"mask": np.eye(2, dtype=bool)}, {"step": 0.25}, {"levels": 2}, {"scale": np.array([1, 2], np.float32)}, {"axis": 1},
        {"scale": None, "axis": None},
    ]  # fmt: skip
    assert layer == dataclasses.replace(layer, mask=layer.mask.copy())
    assert all(layer != dataclasses.replace(layer, **change) for change in others)


def test_the_file_of_trained_weights(tmp_path):
    """The whole loop on a mapping: masks and codebooks of the file are those of the start, its codes those of the weights."""
    weights = mapping()
    fixed = opq.FixedCompression.of(opq.compress(weights, ratio=12))
    rng = np.random.default_rng(1)
    tuned = {name: (w + 0.1 * rng.normal(size=w.shape) * w.std()).astype(np.float32) for name, w in weights.items()}
    result = opq.compress(weights, fixed=fixed, weights=tuned)
    result.save(tmp_path / "tuned.opq")
    assert opq.FixedCompression.load(tmp_path / "tuned.opq") == fixed
    loaded = opq.load(tmp_path / "tuned.opq")
    for name, w in loaded.dense_tensors().items():
        np.testing.assert_array_equal(w, fixed.project(name, tuned[name]) if name in fixed else tuned[name])
    assert loaded.report["totals"]["dense_bytes"] == 4 * sum(w.size for w in weights.values())
    again = opq.compress({**weights, **tuned}, fixed=fixed)
    assert again.to_bytes() == result.to_bytes()
    projected = {**tuned, **{name: fixed.project(name, tuned[name]) for name in fixed}}
    assert opq.compress(projected, fixed=fixed).to_bytes() == result.to_bytes()


def test_a_network_runs_with_its_trained_tensors():
    model = network()
    fixed = opq.FixedCompression.of(opq.compress(model, sparsity=0.5, bits=4))
    tuned = {"c1.weight": -model.tensors["c1.weight"], "c1.scale": model.tensors["c1.scale"] * np.float32(0.3)}
    result = opq.compress(model, fixed=fixed, weights=tuned, dense="float32")
    expected = {**model.tensors, **tuned}
    expected.update({name: fixed.project(name, expected[name]) for name in fixed})
    x = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    dense = opq.Session(dataclasses.replace(model, tensors=expected)).run(None, {"x": x})[0]
    np.testing.assert_allclose(opq.Session(result).run(None, {"x": x})[0], dense, rtol=1e-4, atol=1e-4)
    assert opq.compress(model, fixed=fixed, weights=tuned)["c1.scale"].tolist() != tuned["c1.scale"].tolist(), "float16"


def test_nothing_is_repaired():
    model, _ = network_with_batch_norm()
    first = opq.compress(model, sparsity=0.6, bits=3)
    second = opq.compress(model, fixed=opq.FixedCompression.of(first))
    bias = next(name for name in first if name.endswith("bias") and not np.array_equal(first[name], second[name]))
    np.testing.assert_allclose(second[bias], model.tensors[bias], rtol=1e-3)
    assert {layer["repair"] for layer in second.report["layers"]} == {None}


BESIDE_FIXED = {
    "ratio": 3, "size": "2kB", "sparsity": 0.5, "macs": 0.5, "bits": 4, "mean_bits": 4.0, "weighting": "one",
    "distribution": "laplace", "layer_weight": {"fc": 2.0}, "skip": ["fc"], "channel_scale": "rms", "rounding": "nearest",
    "repair": False,
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE_FIXED)
def test_what_fixed_leaves_no_choice_of_is_an_error(name):
    weights, allocation = layer_weights()
    fixed = opq.FixedCompression(weights, allocation)
    with pytest.raises(ValueError, match=f"fixed has decided masks and codebooks: leave out {name}$"):
        opq.compress(weights, fixed=fixed, **{name: BESIDE_FIXED[name]})
    opq.compress(weights, fixed=fixed, layer_weight={}, skip=[])


def test_settings_are_the_keywords_of_compress():
    keywords = inspect.signature(opq.compress).parameters
    settings = {field.name: field.default for field in dataclasses.fields(Settings)}
    assert settings == {name: keywords[name].default for name in settings}
    assert keywords.keys() - settings.keys() == {"model", "fixed", "weights", "progress"}
    assert settings.keys() == BESIDE_FIXED.keys() | {"dense", "calibration"}


def test_errors_name_the_layer(tmp_path):
    weights, allocation = layer_weights()
    fixed = opq.FixedCompression(weights, allocation)
    assert "2 layers" in repr(fixed)
    cases = [
        (lambda: opq.FixedCompression({"conv": weights["conv"]}, allocation), "no weights were given for layer 'fc'"),
        (lambda: fixed.codes("x", weights["fc"]), "no layer 'x' is fixed"),
        (lambda: fixed.codes("fc", weights["fc"].T), r"layer 'fc': weights have shape \(300, 10\), the mask \(10, 300\)"),
        (lambda: fixed.project("fc", weights["fc"] * np.nan), r"layer 'fc': weight \(0, 0\) is nan"),
        (lambda: fixed.gradient("fc", weights["fc"], [1.0]), "layer 'fc': the gradient has shape"),
        (lambda: opq.FixedCompression.of(weights), "nothing to fix"),
        (lambda: opq.compress(weights, ratio=3, weights=weights), "give fixed as well"),
        (lambda: opq.compress(weights, fixed=fixed, weights={"x": 1.0}), "weights names 'x'"),
        (lambda: opq.compress(weights, fixed=fixed, weights={"fc": 1.0}), r"weights of 'fc' have shape \(\)"),
        (lambda: opq.compress({"fc": weights["fc"]}, fixed=fixed), "fixed has a layer 'conv'"),
        (lambda: opq.compress({**weights, "i": [1]}, fixed=fixed, weights={"i": [0.5]}), "weights of 'i' are float64"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    negative = opq.CompressedModel(None, {"n": QuantizedTensor(np.ones((2, 2), np.int8), 1.0, 1, np.float32([1, -1]), 0)}, {})
    negative.save(tmp_path / "negative.opq")
    with pytest.raises(opq.FormatError, match=r"negative\.opq: layer 'n': a channel scale is not positive"):
        opq.FixedCompression.load(tmp_path / "negative.opq")
    (tmp_path / "broken.opq").write_bytes((tmp_path / "negative.opq").read_bytes()[:-3])
    with pytest.raises(opq.FormatError, match=r"broken\.opq"):
        opq.FixedCompression.load(tmp_path / "broken.opq")
