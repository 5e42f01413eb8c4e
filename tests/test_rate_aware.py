"""Rate-aware codes: less squared error + lambda * bits than the nearest ones, never more than a level away."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import opq
from opq.code_bits import code_bits, group_size
from opq.rate_aware import rate_aware
from opq.reference.passes import nearest_codes
from opq.weights import as_rows


def layer(seed, shape, levels):
    """Rows, group size, step and nearest codes."""
    weights = np.random.default_rng(seed).laplace(size=shape).astype(np.float32)
    weights.reshape(-1)[::17] = 0
    rows = as_rows(weights, None, None)
    step = float(np.float32(np.abs(weights).max() / levels))
    return rows, group_size(shape), step, nearest_codes(*rows, 0.7 * step, step, levels)


SHAPES = st.sampled_from([(7, 30), (4, 6, 3, 3), (5, 8, 1, 1), (1, 3), (3, 2, 7, 7)])


def lagrangian(codes, rows, group, step, levels, multiplier):
    error = ((np.abs(rows.weights) / np.float32(step)).astype(np.float64) - np.abs(codes)) ** 2
    return error.sum() + multiplier * code_bits(codes, group, levels).total


@given(st.integers(0, 2**32), SHAPES, st.sampled_from([1, 3, 7, 127]), st.one_of(st.just(0.0), st.floats(1e-6, 3)))
def test_never_dearer_and_never_more_than_a_level_away(seed, shape, levels, multiplier):
    rows, group, step, nearest = layer(seed, shape, levels)
    codes = rate_aware(nearest, rows, group, step, levels, multiplier)
    assert codes.dtype == np.int8
    assert codes.shape == nearest.shape
    before = lagrangian(nearest, rows, group, step, levels, multiplier)
    assert lagrangian(codes, rows, group, step, levels, multiplier) <= before * (1 + 1e-5) + 1e-6
    rounded = np.clip(np.rint(np.abs(rows.weights) / np.float32(step)), 0, levels)
    assert (np.abs(np.abs(codes) - rounded) <= 1).all()
    assert (codes[rows.weights == 0] == 0).all()
    assert (np.sign(codes) * np.sign(rows.weights) >= 0).all()
    np.testing.assert_array_equal(codes, rate_aware(nearest, rows, group, step, levels, multiplier))


def test_the_larger_lambda_the_fewer_bits():
    rows, group, step, nearest = layer(1, (64, 32, 3, 3), 7)
    bits = [code_bits(rate_aware(nearest, rows, group, step, 7, x), group, 7).total for x in (0.05, 0.1, 0.3)]
    assert bits == sorted(bits, reverse=True)
    assert bits[-1] < 0.8 * bits[0]


def squared_error(model, weights):
    return sum(((model[name].dequantize() - w) ** 2).sum() / (w**2).sum() for name, w in weights.items())


def test_less_error_in_files_of_one_size():
    rng = np.random.default_rng(0)
    shapes = {"a": (64, 64, 3, 3), "b": (256, 128), "c": (128, 64, 1, 1)}
    weights = {name: rng.laplace(size=shape).astype(np.float32) for name, shape in shapes.items()}
    results = {r: opq.compress(weights, ratio=14, rounding=r) for r in ("nearest", "rate")}
    for model in results.values():
        assert 0.99 <= len(model.to_bytes()) * 14 / (4 * sum(w.size for w in weights.values())) <= 1.0
    assert squared_error(results["rate"], weights) < 0.99 * squared_error(results["nearest"], weights)


def test_unknown_rounding():
    with pytest.raises(ValueError, match="rounding 'up' is unknown"):
        opq.compress({"w": np.ones((4, 8), np.float32)}, bits=4, rounding="up")
