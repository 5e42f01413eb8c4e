"""The checksum and the code streams: NumPy and C++ write and accept exactly the same bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import opq
from opq import _core
from opq.reference import codec
from opq.reference.crc32c import crc32c

CODECS = ("packed", "rans0", "grouped")


def both(call_reference, call_core):
    """The results of both, which are equal; or a FormatError from both."""
    results = []
    for call in (call_reference, call_core):
        try:
            results.append(call())
        except opq.FormatError:
            results.append(None)
    if isinstance(results[0], np.ndarray) and results[1] is not None:
        np.testing.assert_array_equal(results[0], results[1])
        return results[0]
    assert results[0] is None or not isinstance(results[0], np.ndarray), "only the reference accepts"
    assert results[0] == results[1] or (results[0] is None) == (results[1] is None)
    return results[0]


def test_crc32c_of_the_standard():
    """The check value of the CRC catalogue, and of RFC 3720, B.4."""
    cases = {b"": 0, b"123456789": 0xE3069283, bytes(32): 0x8A9136AA, b"\xff" * 32: 0x62A8AB43, bytes(range(32)): 0x46DD794E}
    for data, value in cases.items():
        assert crc32c(data) == _core.crc32c(data) == value


@given(st.binary(max_size=3000))
def test_crc32c_is_the_same_in_both(data):
    assert crc32c(data) == _core.crc32c(data)


def random_codes(rng, count, levels, sparsity):
    codes = np.clip(np.rint(rng.laplace(size=count) * max(1, levels) / 3), -levels, levels)
    codes[rng.random(count) < sparsity] = 0
    return codes.astype(np.int8)


@given(
    st.integers(1, 9000),
    st.sampled_from([1, 2, 3, 7, 15, 64, 127]),
    st.floats(0, 1),
    st.integers(0, 2**32),
    st.sampled_from(CODECS),
)
def test_round_trip_in_both(count, levels, sparsity, seed, name):
    codes = random_codes(np.random.default_rng(seed), count, levels, sparsity)
    data = codec.encode(codes, levels, name)
    assert data == _core.encode_codes(codes, levels, name)
    np.testing.assert_array_equal(codec.decode(data, count, levels, name), codes)
    np.testing.assert_array_equal(_core.decode_codes(data, count, levels, name), codes)


@pytest.mark.parametrize("count", [codec.CHUNK - 1, codec.CHUNK, codec.CHUNK + 1, 2 * codec.CHUNK + 77])
def test_round_trip_over_chunks(count):
    codes = random_codes(np.random.default_rng(count), count, 7, 0.8)
    data = codec.encode(codes, 7, "rans0")
    assert data == _core.encode_codes(codes, 7, "rans0")
    np.testing.assert_array_equal(
        both(lambda: codec.decode(data, count, 7, "rans0"), lambda: _core.decode_codes(data, count, 7, "rans0")), codes
    )


def test_rans_reaches_the_entropy():
    codes = random_codes(np.random.default_rng(0), 1_000_000, 7, 0.7)
    p = np.bincount(codes.astype(int) + 7) / codes.size
    entropy = -(p[p > 0] * np.log2(p[p > 0])).sum()
    assert len(_core.encode_codes(codes, 7, "rans0")) * 8 / codes.size < 1.003 * entropy


@pytest.mark.parametrize("name", CODECS)
def test_every_truncation_and_every_changed_byte(name):
    """Both accept the same codes or both refuse."""
    codes = random_codes(np.random.default_rng(4), 150, 3, 0.5)
    data = codec.encode(codes, 3, name)
    refused = 0
    for end in range(len(data)):
        assert (
            both(lambda e=end: codec.decode(data[:e], 150, 3, name), lambda e=end: _core.decode_codes(data[:e], 150, 3, name))
            is None
        )
    for i in range(len(data)):
        for value in {data[i] ^ 1, data[i] ^ 128, 0, 255} - {data[i]}:
            changed = data[:i] + bytes([value]) + data[i + 1 :]
            result = both(
                lambda c=changed: codec.decode(c, 150, 3, name), lambda c=changed: _core.decode_codes(c, 150, 3, name)
            )
            refused += result is None
    assert refused > 0 or name == "packed"


@given(st.binary(max_size=400), st.integers(1, 600), st.integers(1, 127), st.sampled_from(CODECS))
def test_arbitrary_bytes(data, count, levels, name):
    both(lambda: codec.decode(data, count, levels, name), lambda: _core.decode_codes(data, count, levels, name))
