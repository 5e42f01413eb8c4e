"""The passes over the weights: the core has the bits of the reference, at any number of threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opq import _core
from opq.code_bits import code_bits
from opq.rate_aware import prices
from opq.reference import passes
from opq.reference.passes.lane_sums import BLOCK, LANES, lane_sum

TINY, HUGE = np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max

# Around the eight lanes and the blocks of 4096; with more than 32768 weights the core wakes its threads.
ROWS = [(1, 1), (1, 7), (3, 8), (2, 9), (5, 31), (6, 90), (720, 1), (2, BLOCK - 1), (1, BLOCK + 1), (90, 450), (3, 16_401)]

# What weights may be: of one size, on the grid of the codes (ties), denormal, next to overflow, over all exponents.
KINDS = {
    "laplace": lambda rng, shape: rng.laplace(size=shape),
    "grid": lambda rng, shape: rng.integers(-12, 13, size=shape) / 4,
    "one magnitude": lambda rng, shape: rng.choice([-0.3, 0.3], size=shape),
    "denormal": lambda rng, shape: rng.integers(-9, 10, size=shape) * float(TINY),
    "huge": lambda rng, shape: rng.uniform(-1, 1, size=shape) * float(HUGE),
    "all exponents": lambda rng, shape: np.ldexp(rng.uniform(-1, 1, size=shape), rng.integers(-148, 128, size=shape)),
    "zeros": lambda rng, shape: np.zeros(shape),
}


@st.composite
def layers(draw):
    """(weights [rows, length], scale [channels]), some channels and some weights zero, zeros of either sign."""
    rows, length = draw(st.sampled_from(ROWS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    weights = KINDS[draw(st.sampled_from(list(KINDS)))](rng, (rows, length)).astype(np.float32)
    weights[rng.random(rows) < 0.1] = 0.0
    weights[rng.random(weights.shape) < draw(st.sampled_from([0.0, 0.1, 0.9]))] *= 0.0
    channels = draw(st.sampled_from([c for c in (1, 2, 3, 9, 720) if rows % c == 0]))
    scale = draw(st.sampled_from([1.0, 2.0**-126, 0.7, 2.0**127])) * rng.uniform(1.0, 1.9, size=channels)
    return weights, (np.ones(1) if channels == 1 else scale).astype(np.float32)


STEPS = st.one_of(st.sampled_from([float(TINY), 0.25, 0.3, float(HUGE)]), st.floats(2.0**-140, 2.0**100, width=32))
THRESHOLDS = st.one_of(st.sampled_from([0.0, 1e-60, 0.25, float(HUGE)]), st.floats(0.0, 2.0**100, width=32))
LEVELS = st.sampled_from([1, 2, 7, 127])
MULTIPLIERS = st.one_of(st.sampled_from([5e-324, 1e300]), st.floats(1e-6, 10.0))
THREADS = st.integers(1, 4)


def bits(value):
    """What must be equal: type, shape and bytes of every array, and every number."""
    if isinstance(value, tuple):
        return [bits(part) for part in value]
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    return np.float64(value).tobytes()


def assert_same(name, threads, *arguments):
    expected = getattr(passes, name)(*arguments)
    assert bits(getattr(_core, name)(*arguments, threads)) == bits(expected)
    return expected


@given(layers(), THREADS)
def test_statistics(layer, threads):
    weights, scale = layer
    assert assert_same("all_finite", threads, weights.reshape(-1))
    assert_same("channel_energies", threads, weights)
    with np.errstate(over="ignore"):
        maximum = assert_same("moments", threads, weights, scale)[2]
        for bin_width in (maximum / 5, maximum / 4096, maximum / 3e4) if 0.0 < maximum < np.inf else [1.0]:
            assert_same("histogram", threads, weights, scale, bin_width, 4096)


@given(layers(), st.sampled_from([np.nan, np.inf, -np.inf]), st.floats(0, 1, exclude_max=True), THREADS)
def test_what_is_not_finite_is_found_anywhere(layer, value, place, threads):
    values = layer[0].reshape(-1).copy()
    values[int(place * values.size)] = value
    assert not assert_same("all_finite", threads, values)


@given(layers(), THRESHOLDS, STEPS, LEVELS, THREADS)
def test_nearest_codes_and_what_they_lose(layer, threshold, step, levels, threads):
    with np.errstate(over="ignore"):
        codes = assert_same("nearest_codes", threads, *layer, threshold, step, levels)
        assert_same("squared_error", threads, *layer, codes, step)


@given(layers(), THRESHOLDS, STEPS, LEVELS, st.integers(1, 10), MULTIPLIERS, THREADS)
def test_rate_aware_codes(layer, threshold, step, levels, group, multiplier, threads):
    weights, scale = layer
    group = group if weights.size % group == 0 else 1
    with np.errstate(over="ignore"):
        codes = passes.nearest_codes(weights, scale, threshold, step, levels)
        for _ in range(2):
            assert_same("count_codes", threads, codes.reshape(-1), group, levels)
            tables = prices(code_bits(codes, group, levels), multiplier)
            codes = assert_same("rate_aware_codes", threads, weights, scale, step, *tables)


@given(layers(), st.booleans(), st.booleans(), THREADS, st.integers(0, 2**32))
def test_row_sums(layer, of_codes, one_x, threads, seed):
    weights = layer[0]
    rng = np.random.default_rng(seed)
    steps = rng.lognormal(size=len(weights)).astype(np.float32)
    x = rng.normal(size=(1 if one_x else len(weights), weights.shape[1]))
    values = rng.integers(-127, 128, size=weights.shape).astype(np.int8) if of_codes else weights
    with np.errstate(over="ignore", invalid="ignore"):
        assert_same("row_sums", threads, values, steps, x)


def test_sums_have_one_order():
    """Constructed so that every other order is off: the lanes first, then pairs of them, then the blocks."""
    terms = np.zeros(2 * BLOCK)
    terms[[0, LANES, BLOCK]] = 1.0, -1.0, 2.0**-60  # lane 0 of the first block, which cancels; lane 0 of the second block
    assert lane_sum(terms) == 2.0**-60
    terms = np.array([1.0, 2.0**-53, 2.0**-53, 0.0])
    assert lane_sum(terms) == 1.0  # (1 + 2^-53) + (2^-53 + 0), both rounded to 1
    assert lane_sum(terms[[1, 2, 0, 3]]) == 1.0 + 2.0**-52


BAD_CALLS = {
    "order": lambda w, s: _core.moments(w.T, s, 1),
    "type": lambda w, s: _core.moments(w.astype(np.float64), s, 1),
    "no weights": lambda w, s: _core.moments(w[:0], s, 1),
    "scale": lambda w, s: _core.moments(w, np.ones(3, np.float32), 1),
    "no scale": lambda w, s: _core.moments(w, s[:0], 1),
    "threads": lambda w, s: _core.moments(w, s, 0),
    "bins": lambda w, s: _core.histogram(w, s, 1.0, 0, 1),
    "bin width": lambda w, s: _core.histogram(w, s, 0.0, 8, 1),
    "step": lambda w, s: _core.nearest_codes(w, s, 0.0, 0.0, 7, 1),
    "step that is no float32": lambda w, s: _core.nearest_codes(w, s, 0.0, 1e-50, 7, 1),
    "levels": lambda w, s: _core.nearest_codes(w, s, 0.0, 1.0, 128, 1),
    "codes": lambda w, s: _core.squared_error(w, s, np.zeros((6, 4), np.int8), 1.0, 1),
    "group": lambda w, s: _core.count_codes(np.zeros(24, np.int8), 5, 7, 1),
    "no group": lambda w, s: _core.count_codes(np.zeros(24, np.int8), 0, 7, 1),
    "magnitude": lambda w, s: _core.count_codes(np.full(24, -128, np.int8), 1, 127, 1),
    "group of 11": lambda w, s: _core.rate_aware_codes(w, s, 1.0, np.zeros(12), np.zeros(8), np.full(8, np.nan, np.float32), 1),
    "rises": lambda w, s: _core.rate_aware_codes(w, s, 1.0, np.zeros(2), np.zeros(8), np.zeros(8, np.float32), 1),
    "short rises": lambda w, s: _core.rate_aware_codes(w, s, 1.0, np.zeros(2), np.zeros(8), np.full(7, np.nan, np.float32), 1),
    "steps": lambda w, s: _core.row_sums(w, np.ones(3, np.float32), np.zeros((1, 6)), 1),
    "x": lambda w, s: _core.row_sums(w, np.ones(4, np.float32), np.zeros((2, 6)), 1),
    "values": lambda w, s: _core.row_sums(w.astype(np.float64), np.ones(4, np.float32), np.zeros((1, 6)), 1),
}


@pytest.mark.parametrize("call", BAD_CALLS.values(), ids=BAD_CALLS)
def test_the_core_refuses_what_does_not_fit(call):
    with pytest.raises(ValueError):
        call(np.ones((4, 6), np.float32), np.ones(2, np.float32))
