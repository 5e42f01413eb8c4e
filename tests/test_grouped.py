"""The grouped stream: NumPy and C++ choose the same parameters, write the same bytes and accept the same ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_codec import both

import opq
from opq import _core
from opq.reference.grouped import fit, magnitudes, signs, tables
from opq.reference.grouped.binary_coder import Decoder, Encoder, Probability
from opq.reference.grouped.fit import estimate
from opq.reference.grouped.parameters import decode_parameters, encode_parameters
from opq.reference.grouped.stream import decode_grouped, encode_grouped, layout

TYPES = (np.int8, np.int16, np.int32, np.uint8, np.uint16)
SHAPES = st.one_of(
    st.tuples(st.integers(1, 3000)),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 11)),
    st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3, 5])),
)


def reference_decode(data, count, dtype):
    limits = np.iinfo(dtype)
    return decode_grouped(data, count, int(limits.min), int(limits.max)).astype(dtype)


def weights(rng, shape, dtype, kind):
    """Integers as weights are, or as they are not."""
    limits = np.iinfo(dtype)
    if kind == "any":
        return rng.integers(limits.min, limits.max, size=shape, dtype=dtype, endpoint=True)
    values = rng.laplace(size=shape) * rng.choice([0.3, 1, 4, 30, 2000])
    values *= np.exp(rng.normal(size=(shape[0],) + (1,) * (len(shape) - 1)))  # rows of different density
    values[np.abs(values) < np.quantile(np.abs(values), rng.random())] = 0
    if kind == "signs":
        values = np.sign(values)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


@settings(max_examples=60)
@given(SHAPES, st.sampled_from(TYPES), st.sampled_from(["any", "signs", "laplace", "laplace"]), st.integers(0, 2**32))
def test_both_write_the_same_bytes_and_read_them_back(shape, dtype, kind, seed):
    values = weights(np.random.default_rng(seed), shape, dtype, kind)
    data = encode_grouped(values.ravel(), *layout(shape))
    assert data == _core.encode_integers(values, 1)
    np.testing.assert_array_equal(reference_decode(data, values.size, dtype), values.ravel())
    np.testing.assert_array_equal(_core.decode_integers(data, values.size, np.dtype(dtype), 1), values.ravel())


@settings(max_examples=30)
@given(SHAPES, st.sampled_from(["any", "laplace"]), st.integers(0, 2**32))
def test_both_estimate_the_same_length(shape, kind, seed):
    values = weights(np.random.default_rng(seed), shape, np.int8, kind)
    assert estimate(values.ravel().astype(np.int64), *layout(shape)) == _core.estimate_codes(values, 1)


@pytest.mark.parametrize("shape", [(300, 500), (200, 30, 3, 3), (64, 501)])
@pytest.mark.parametrize("size", [0.5, 3.0, 60.0])
def test_the_estimate_is_close_to_the_length(shape, size):
    rng = np.random.default_rng(3)
    values = np.exp(rng.normal(size=(shape[0],) + (1,) * (len(shape) - 1))) * rng.laplace(size=shape) * size
    codes = np.clip(np.rint(values), -127, 127).astype(np.int8)
    assert 0.995 < _core.estimate_codes(codes, 1) / len(_core.encode_integers(codes, 1)) < 1.02


@pytest.mark.parametrize("shape", [(700, 900), (2000, 30, 3, 3), (1 << 19,), (3, 300_000), (70_000, 5)])
def test_several_chunks_and_threads(shape):
    values = weights(np.random.default_rng(1), shape, np.int8, "laplace")
    data = encode_grouped(values.ravel(), *layout(shape))
    for threads in (1, 2, 5):
        assert data == _core.encode_integers(values, threads)
        np.testing.assert_array_equal(_core.decode_integers(data, values.size, np.dtype(np.int8), threads), values.ravel())
    np.testing.assert_array_equal(reference_decode(data, values.size, np.int8), values.ravel())


def kernels(rng):
    """3 x 3 kernels that are alive or dead as a whole, with neighbours of like sign: every kind of parameter is used."""
    values = rng.laplace(size=(96, 64, 3, 3)) * (rng.random((96, 64, 1, 1)) < 0.4) * 2
    values = np.abs(values) * np.where(rng.random((96, 64, 3, 3)) < 0.1, -1, 1) * rng.choice([-1, 1], size=(96, 64, 1, 1))
    values *= np.array([[0.2, 1, 0.2], [1, 3, 1], [0.2, 1, 0.2]])
    return np.clip(np.rint(values), -7, 7).astype(np.int8)


def columns(rng, rows, width):
    """Rows and columns of different density, columns of mostly one sign."""
    values = rng.laplace(size=(rows, width)) * np.exp(rng.normal(size=(rows, 1))) * np.exp(rng.normal(size=width))
    values = np.abs(values) * np.where(rng.random((rows, width)) < rng.random(width), -1, 1)
    return np.clip(np.rint(values / 2), -7, 7).astype(np.int8)


def test_kernels_use_mask_weights_and_neighbours():
    values = kernels(np.random.default_rng(0))
    p = fit.fit(values.ravel().astype(np.int64), *layout(values.shape))
    assert p.kernel == 9
    assert p.mask_weights.size
    assert p.sign_mode == "kernel"
    assert p.tokens == 7


def test_columns_use_scales_and_sign_shares():
    codes = columns(np.random.default_rng(0), 256, 512).astype(np.int64)
    p = fit.fit(codes.ravel(), 512, 0)
    assert p.row_scale.size == 256
    assert p.column_scale.size == 512
    assert p.sign_mode == "column"
    assert len(p.boundaries) > 0
    again = decode_parameters(encode_parameters(p), codes.size)
    for name, value in vars(p).items():
        np.testing.assert_array_equal(getattr(again, name), value, err_msg=name)


def test_independent_codes_reach_their_entropy():
    """Within 0.15 % of zero-order entropy on a million codes, all parameters and states included."""
    rng = np.random.default_rng(5)
    values = rng.laplace(size=(1024, 1024))
    codes = np.where(np.abs(values) > np.quantile(np.abs(values), 0.8), np.clip(np.rint(values), -7, 7), 0).astype(np.int8)
    p = np.unique(codes, return_counts=True)[1] / codes.size
    assert 8 * len(_core.encode_integers(codes, 2)) <= 1.0015 * codes.size * -(p * np.log2(p)).sum()


def test_structure_beats_zero_order_entropy():
    values = kernels(np.random.default_rng(0))
    p = np.unique(values, return_counts=True)[1] / values.size
    assert 8 * len(_core.encode_integers(values, 1)) < 0.8 * values.size * -(p * np.log2(p)).sum()


def refused_by_both(data, count, dtype):
    return (
        both(lambda: reference_decode(data, count, dtype), lambda: _core.decode_integers(data, count, np.dtype(dtype), 1))
        is None
    )


@pytest.mark.parametrize("shape", [(9, 4, 3, 3), (20, 24), (300,)])
def test_every_truncation_and_every_changed_byte(shape):
    values = weights(np.random.default_rng(3), shape, np.int16, "laplace")
    data = _core.encode_integers(values, 1)
    for end in range(len(data)):
        assert refused_by_both(data[:end], values.size, np.int16), end
    refused = 0
    for i in range(len(data)):
        for value in {data[i] ^ 1, data[i] ^ 16, data[i] ^ 128, 0, 255} - {data[i]}:
            refused += refused_by_both(data[:i] + bytes([value]) + data[i + 1 :], values.size, np.int16)
    assert refused > 2 * len(data)  # the final states and the end of the words are checked
    assert refused_by_both(data + b"\0", values.size, np.int16)


@pytest.mark.parametrize("kind", ["columns", "kernels"])
def test_changed_bytes_of_eight_lanes(kind):
    """Of columns that are sorted, with a group that reaches beyond the row, and of kernels."""
    rng = np.random.default_rng(6)
    values = columns(rng, 140, 509) if kind == "columns" else np.concatenate([kernels(rng), kernels(rng)])
    data = _core.encode_integers(values, 1)
    assert values.size >= 1 << 16
    assert not refused_by_both(data, values.size, np.int8)
    for i in rng.integers(0, len(data), 12):
        refused_by_both(data[:i] + bytes([data[i] ^ 1 << int(rng.integers(8))]) + data[i + 1 :], values.size, np.int8)


@given(st.binary(max_size=300), st.integers(1, 700), st.sampled_from(TYPES))
def test_arbitrary_bytes(data, count, dtype):
    refused_by_both(data, count, dtype)


@given(st.binary(max_size=60), st.data())
def test_arbitrary_bytes_behind_valid_parameters(tail, data):
    """Most random bytes fail at the parameters; here they are those of a real stream."""
    shape = data.draw(st.sampled_from([(6, 4, 3, 3), (12, 20)]))
    stream = _core.encode_integers(weights(np.random.default_rng(8), shape, np.int8, "laplace"), 1)
    refused_by_both(stream[: 1 + stream[0]] + tail, int(np.prod(shape)), np.int8)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=400))
def test_binary_coder_round_trip(bits):
    encoder, probabilities = Encoder(), [Probability() for _ in range(4)]
    for bit, which in bits:
        encoder.bit(int(bit), probabilities[which])
    decoder, probabilities = Decoder(encoder.finish()), [Probability() for _ in range(4)]
    assert [decoder.bit(None, probabilities[which]) for _, which in bits] == [int(bit) for bit, _ in bits]
    decoder.finish()


def test_binary_coder_learns():
    encoder, probability = Encoder(), Probability()
    for i in range(10_000):
        encoder.bit(int(i % 50 == 0), probability)
    entropy = -(0.02 * np.log2(0.02) + 0.98 * np.log2(0.98)) * 10_000 / 8
    assert len(encoder.finish()) < 1.05 * entropy


def test_frequencies_are_probability_tables():
    for group in (*tables.GROUP_SIZES,):
        for dispersion in range(tables.DISPERSIONS):
            frequencies = tables.count_frequencies(group, dispersion)
            assert (frequencies.sum(axis=1) == 4096).all()
            assert frequencies.min() >= 1
            mean = frequencies @ np.arange(group + 1) / 4096 / group
            np.testing.assert_allclose(mean, tables.DENSITIES / 65536, atol=0.003)
    rng = np.random.default_rng(0)
    for tokens in (2, 3, 48, 240):
        assert (tables.token_frequencies(rng.integers(0, 256, size=(20, tokens - 1))).sum(axis=1) == 4096).all()
    for patterns in (1, 4, 126, 252):
        starts = tables.mask_starts(rng.integers(-12, 13, size=patterns))
        assert starts[0] == 0
        assert starts[-1] == 4096
        assert (np.diff(starts) >= 1).all()


def test_the_tables_of_constants_follow_their_formulas():
    b = np.arange(tables.BUCKETS)
    np.testing.assert_array_equal(tables.DENSITIES, np.rint(65536 / (1 + np.exp((64 - b) / 8))))
    np.testing.assert_array_equal(tables.WEIGHTS, np.rint(64 * 2 ** (np.arange(-12, 13) / 2)))
    np.testing.assert_allclose(tables.log2_table()[1:] / 65536, np.log2(np.arange(1, 65537)), atol=2**-15)


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1))
def test_tokens_and_extra_bits(m):
    tokens, extra, width = magnitudes.split(np.array(m))
    assert tokens.max() < tables.MAX_TOKENS
    np.testing.assert_array_equal(width, magnitudes.widths(tokens))
    np.testing.assert_array_equal(magnitudes.join(tokens, extra), m)


@pytest.mark.parametrize("group", tables.GROUP_SIZES)
def test_signs_and_their_differences(group):
    rng = np.random.default_rng(group)
    mask = rng.integers(0, 1 << group, size=500)
    negative = rng.integers(0, 2, size=(500, group)) * (mask[:, None] >> np.arange(group) & 1)
    different = signs.differences(negative, mask) * (mask[:, None] >> np.arange(group) & 1)
    np.testing.assert_array_equal(signs.from_differences(different, mask), negative)


def test_streams_that_declare_too_much():
    """A row of one code, four million rows with scales: refused before anything of that size is made."""
    stream = _core.encode_integers(np.zeros(100, np.int8), 1)
    with pytest.raises(opq.FormatError, match="too short"):
        _core.decode_integers(stream, 1 << 36, np.dtype(np.int8), 1)
