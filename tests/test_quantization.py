"""The rules of the codes, against a scalar loop that follows them word by word."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import opq
from opq.codes import relative_error
from opq.layer_allocation import LayerAllocation
from opq.reference.half_precision import exact_half
from opq.reference.passes import nearest_codes
from opq.weights import channel_scales

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def encode(w, threshold, step, levels):
    """By the reference, whose bits the core has (test_passes.py)."""
    return nearest_codes(w.reshape(1, -1), np.ones(1, np.float32), threshold, step, levels)[0]


def scalar_code(w, magnitude, threshold, step, levels):
    """code = sign(w) clip(rint(m / step), 1, K) where m survives; all in float32."""
    survives = magnitude > np.float32(threshold) if threshold > 0 else w != 0
    if not survives:
        return 0
    with np.errstate(over="ignore"):
        level = min(max(float(np.rint(np.float32(magnitude) / np.float32(step))), 1.0), levels)
    return int(level) if w > 0 else -int(level)


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5), elements=finite),
    st.floats(0, 1e6, width=32), st.floats(2.0**-126, 1e6, width=32), st.integers(1, 127),
)  # fmt: skip
def test_codes_follow_the_rules(w, threshold, step, levels):
    codes = encode(w, threshold, step, levels)
    expected = [scalar_code(v, abs(v), threshold, step, levels) for v in w.ravel()]
    assert codes.dtype == np.int8
    assert codes.tolist() == expected


def test_ties_go_to_even_and_thresholds_are_strict():
    w = np.array([0.5, 1.5, 2.5, -3.5, 1.0, np.nextafter(np.float32(1.0), np.float32(2.0)), -0.0, 0.25], dtype=np.float32)
    assert encode(w, 0.0, 1.0, 127).tolist() == [1, 2, 2, -4, 1, 1, 0, 1]
    assert encode(w, 1.0, 1.0, 3).tolist() == [0, 2, 2, -3, 0, 1, 0, 0]


def rms(w, axis):
    """The root mean square of each channel in extended precision; 1 for a channel of zeros."""
    others = tuple(i for i in range(w.ndim) if i != axis)
    exact = np.sqrt(np.mean(np.square(w.astype(np.longdouble)), axis=others))
    return np.where((w == 0).all(axis=others), 1.0, exact).astype(np.float64)


@given(hnp.arrays(np.float32, (3, 4, 2), elements=finite), st.integers(0, 2))
def test_scales_are_root_mean_squares_in_two_bytes(w, axis):
    """Within the range in which bfloat16 has all its bits: its unit is 2^-8, and channels of one magnitude are not rounded."""
    scale = channel_scales(w, axis)
    np.testing.assert_allclose(scale, np.clip(rms(w, axis), 2.0**-126, 2.0**127), rtol=2.0**-8 + 2e-7)
    assert (scale >= 2.0**-126).all()
    magnitudes = np.abs(np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1))
    assert exact_half(scale) or (magnitudes == magnitudes[:, :1]).all()


@given(hnp.arrays(np.float32, (5, 1), elements=st.floats(2.0**-100, 2.0**100, width=32)))
def test_channels_of_one_magnitude_are_coded_exactly(magnitude):
    """Binary weights: one level, and scales with all their bits."""
    w = magnitude * np.array([1, -1, -1, 1, 1, -1, 1, 1], dtype=np.float32)
    q = opq.quantize(w, opq.allocate({"w": w}, bits=4)["w"])
    assert q.levels == 1
    np.testing.assert_allclose(q.dequantize(), w, rtol=3e-7)


def test_dequantize_multiplies_step_and_scale_first():
    q = opq.QuantizedTensor(
        np.array([[3], [-2]], dtype=np.int8), float(np.float32(0.1)), 3, np.array([0.3, 7], dtype=np.float32), 0
    )
    steps = np.float32(0.1) * np.array([0.3, 7], dtype=np.float32)
    assert q.dequantize().tobytes() == np.array([[3 * steps[0]], [-2 * steps[1]]], dtype=np.float32).tobytes()
    assert q.sparsity == 0.0
    assert q.shape == (2, 1)


def test_quantize_checks_the_shape():
    w = np.ones((4, 5), dtype=np.float32)
    layer = opq.allocate({"w": w}, bits=4)["w"]
    assert isinstance(layer, LayerAllocation)
    with pytest.raises(ValueError, match=r"layer 'w': weights have shape \(5, 4\)"):
        opq.quantize(w.T, layer)


def test_input_arrays_stay_as_they_are():
    w = np.random.default_rng(0).normal(size=(50, 60)).astype(np.float32)
    before = w.copy()
    opq.quantize(w, opq.allocate({"w": w}, ratio=9)["w"])
    opq.compress({"w": w}, ratio=5)
    np.testing.assert_array_equal(w, before)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("rounding", ["nearest", "rate"])
def test_the_channel_axis_may_be_any(axis, rounding):
    """Scales, statistics and codes are those of the layer with its channels first."""
    w = np.random.default_rng(0).laplace(size=(40, 30, 20)).astype(np.float32) * np.float32(2.0) ** np.arange(
        20, dtype=np.float32
    )
    first = np.moveaxis(w, axis, 0)
    layer, expected = (opq.allocate({"w": x}, ratio=12, axis=a)["w"] for x, a in ((w, axis), (first, 0)))
    assert layer.step == pytest.approx(expected.step, rel=1e-6)  # sums in another order
    layer = replace(layer, step=expected.step, threshold=expected.threshold, multiplier=expected.multiplier)
    found, codes = opq.quantize(w, layer, rounding=rounding), opq.quantize(first, expected, rounding=rounding)
    np.testing.assert_array_equal(found.scale, codes.scale)
    assert found.axis == axis
    if rounding == "nearest":  # the groups of rate-aware codes lie elsewhere
        np.testing.assert_array_equal(np.moveaxis(found.codes, axis, 0), codes.codes)
    assert relative_error(w, found) == pytest.approx(relative_error(first, codes), rel=0.02)


def test_a_code_of_minus_128_multiplies_in_every_kernel():
    """No file holds it, but arrays of int8 do: sparse columns number their rows beside it."""
    rng = np.random.default_rng(0)
    codes = np.where(rng.random((1024, 4200)) < 0.01, rng.integers(-128, 128, (1024, 4200)), 0).astype(np.int8)
    codes[700, 3] = -128
    x = rng.normal(size=(4200, 1)).astype(np.float32)
    for weights in (codes, codes[:40]):
        y = opq.QuantizedTensor(weights, 1.0, 127).matmul(x)
        np.testing.assert_allclose(y, weights.astype(np.float64) @ x, rtol=1e-5, atol=1e-2)
