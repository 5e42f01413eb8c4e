"""opq.codec: integer arrays of any shape as bytes that stand alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import opq

TYPES = ("int8", "int16", "int32", "uint8", "uint16")


@settings(max_examples=80)
@given(hnp.arrays(st.sampled_from(TYPES), hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=7)))
def test_round_trip_in_both(values):
    data = opq.codec.encode(values)
    assert data == opq.codec.encode(values, backend="reference")
    for backend in ("core", "reference"):
        result = opq.codec.decode(data, backend=backend)
        assert result.dtype == values.dtype
        assert result.shape == values.shape
        assert result.flags.c_contiguous
        np.testing.assert_array_equal(result, values)


@pytest.mark.parametrize("dtype", TYPES)
def test_never_more_than_a_few_bytes_beyond_the_array(dtype):
    limits = np.iinfo(dtype)
    values = np.random.default_rng(0).integers(limits.min, limits.max, size=(40, 50), dtype=dtype, endpoint=True)
    assert len(opq.codec.encode(values)) <= values.nbytes + 16


def test_zeros_are_almost_free():
    assert len(opq.codec.encode(np.zeros((64, 32, 3, 3), dtype=np.int8))) < 40


def test_any_memory_order_and_byte_order():
    values = np.arange(-300, 300, dtype=np.int16).reshape(20, 30)
    data = opq.codec.encode(values)
    for same in (values.astype(">i2"), np.asfortranarray(values), np.repeat(values, 2, axis=1)[:, ::2]):
        assert opq.codec.encode(same) == data


def test_threads_do_not_change_the_bytes():
    values = np.random.default_rng(0).geometric(0.4, size=(900, 800)).astype(np.int8) - 1
    data = opq.codec.encode(values, threads=1)
    for threads in (2, 3):
        assert opq.codec.encode(values, threads=threads) == data
        np.testing.assert_array_equal(opq.codec.decode(data, threads=threads), values)


def test_codecs_are_chosen_by_size():
    """Byte 2, modulo 4: noise is raw, uniform codes are packed, lumps without zeros are rans0, weights are grouped."""
    rng = np.random.default_rng(0)
    noise = rng.integers(-(2**31), 2**31, size=500, dtype=np.int32)
    weights = np.where(rng.random((100, 100)) < 0.9, 0, rng.choice([-1, 1], size=(100, 100))).astype(np.int8)
    lumps = rng.choice(np.array([-50, -49, 60], dtype=np.int8), size=4000)
    uniform = rng.permutation(np.repeat(np.arange(-7, 8, dtype=np.int8), 20))
    assert [opq.codec.encode(values)[2] % 4 for values in (noise, uniform, lumps, weights)] == [0, 1, 2, 3]


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros(3, np.int64), np.zeros(3, bool), ["a"], np.zeros(3, np.uint32)])
def test_other_types_are_refused(values):
    with pytest.raises(TypeError, match="expected one of int8"):
        opq.codec.encode(values)


def test_wrong_arguments():
    values = np.zeros(3, np.int8)
    with pytest.raises(ValueError, match="dimensions"):
        opq.codec.encode(np.zeros((1,) * 9, np.int8))
    with pytest.raises(ValueError, match="threads"):
        opq.codec.encode(values, threads=0)
    with pytest.raises(ValueError, match="backend"):
        opq.codec.decode(opq.codec.encode(values), backend="gpu")
    with pytest.raises(TypeError):
        opq.codec.decode("text")
    with pytest.raises(TypeError, match="single bytes"):
        opq.codec.decode(memoryview(np.zeros(20, np.int32)))


def both_refuse(data):
    for backend in ("core", "reference"):
        with pytest.raises(opq.FormatError) as error:
            opq.codec.decode(data, backend=backend)
        assert "\n" not in str(error.value)


def test_every_truncation_and_every_changed_byte():
    rng = np.random.default_rng(0)
    for values in (rng.integers(-2, 3, size=(6, 10)).astype(np.int8), np.zeros((0, 4), np.int32), rng.bytes(30)):
        array = np.frombuffer(values, np.uint8) if isinstance(values, bytes) else values
        data = opq.codec.encode(array)
        for end in range(len(data)):
            both_refuse(data[:end])
        for i in range(len(data)):
            for bit in range(8):
                both_refuse(data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :])


@given(st.binary(max_size=80))
def test_arbitrary_bytes_behind_a_valid_checksum(body):
    """Both accept the same array or both refuse."""
    from opq.reference.crc32c import crc32c

    data = b"\x89C" + body
    data += crc32c(data).to_bytes(4, "little")
    results = []
    for backend in ("core", "reference"):
        try:
            results.append(opq.codec.decode(data, backend=backend))
        except opq.FormatError:
            results.append(None)
    assert (results[0] is None) == (results[1] is None)
    if results[0] is not None:
        assert results[0].dtype == results[1].dtype
        np.testing.assert_array_equal(results[0], results[1])
