"""Two-byte floats: rounding against a search in the table of all numbers, and both readers of a file against that table."""

import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from networks import conv

import opq
from opq import _core
from opq.compressed import CompressedModel, from_bytes
from opq.graph import Graph, ValueInfo
from opq.quantization import QuantizedTensor
from opq.reference import codec, container, graph_section, tensor_section
from opq.reference.half_precision import HALVES, exact_half, narrow, round_to, widen

PATTERNS = np.arange(1 << 16, dtype=np.uint16)
TYPES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
NUMBERS = {"float16": 4, "bfloat16": 5}

bit_patterns = hnp.arrays(np.uint32, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6))


def nearest(value, half):
    """The bits of the number nearest to `value`, found by search; of two equally near ones that with the even pattern."""
    finite = PATTERNS[: 0x7C00 if half == "float16" else 0x7F80]  # 0 and the positive numbers, ascending
    numbers = finite.view(TYPES[half]).astype(np.float64)
    magnitude, sign = abs(float(value)), 0x8000 if np.signbit(value) else 0
    # What would be the next number is where infinity begins to be the nearest.
    candidates = np.append(numbers, 2 * numbers[-1] - numbers[-2])
    if magnitude >= candidates[-1]:
        return sign | len(finite)
    distance = np.abs(candidates - magnitude)
    best = np.flatnonzero(distance == distance.min())
    return sign | int(min(best, key=lambda i: i % 2))


@pytest.mark.parametrize("half", HALVES)
@given(st.floats(width=32, allow_nan=False))
def test_rounding_to_nearest_even(half, value):
    value = np.float32(value)
    assert int(narrow(np.array([value]), half)[0]) == nearest(value, half)


@pytest.mark.parametrize("half", HALVES)
@given(st.integers(0, (1 << 15) - 2))
def test_ties(half, pattern):
    """Half way between two neighbours, and next to it on either side."""
    low, high = (float(widen(PATTERNS[pattern + i : pattern + i + 1], half)[0]) for i in (0, 1))
    if np.isfinite(high):
        middle = np.float32((low + high) / 2)
        assert float(middle) == (low + high) / 2
        for value in (middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf))):
            assert int(narrow(np.array([value]), half)[0]) == nearest(value, half)


@pytest.mark.parametrize("half", HALVES)
def test_every_pattern_widens_to_its_number(half):
    np.testing.assert_array_equal(widen(PATTERNS, half), PATTERNS.view(TYPES[half]).astype(np.float32), strict=True)
    number = ~np.isnan(widen(PATTERNS, half))
    np.testing.assert_array_equal(narrow(widen(PATTERNS, half), half)[number], PATTERNS[number])
    assert np.isnan(round_to(np.array([np.nan, -np.nan], np.float32), half)).all()


def entry(dtype, number, dims, size, extra=b""):
    return b"\x01\0w" + bytes([dtype, number, len(dims), 0]) + struct.pack(f"<{len(dims)}QQ", *dims, size) + extra


def file_of(directory, data, graph=None):
    sections = {b"TENS": struct.pack("<I", 1) + directory, b"DATA": data}
    return container.write_container({**sections, **({} if graph is None else {b"GRPH": graph})})


def both_refuse(data):
    for read in (from_bytes, _core.Network):
        with pytest.raises(opq.FormatError):
            read(data)


def read_by_both(tensors):
    """The tensors of a file of `tensors`: as the Python reader returns them, and as the core gives them as graph outputs."""
    infos = tuple(ValueInfo(name, "float32", tensor.shape) for name, tensor in tensors.items())
    model = CompressedModel(Graph((), infos, ()), tensors)
    names = list(tensors)
    again = from_bytes(model.to_bytes())
    outputs = _core.Session(again.network, 1).run({}, names)
    return again, [again[name] for name in names], outputs


@pytest.mark.parametrize("half", HALVES)
def test_both_readers_widen_every_pattern(half):
    """As a value of the graph, NaN included, and as a bias."""
    values = widen(PATTERNS, half)
    graph = graph_section.write_graph(Graph((), (ValueInfo("w", "float32", values.shape),), ()))
    file = file_of(entry(1, NUMBERS[half], values.shape, 2 * values.size), PATTERNS.astype("<u2").tobytes(), graph)
    [output] = _core.Session(_core.Network(file), 1).run({}, ["w"])
    for result in (from_bytes(file)["w"], output):
        np.testing.assert_array_equal(result, values, strict=True)
        np.testing.assert_array_equal(np.signbit(result), PATTERNS >= 0x8000)

    finite = values[np.isfinite(values)]
    weight = QuantizedTensor(np.zeros((len(finite), 1, 1, 1), np.int8), 1.0, 1)
    node = conv("c", "x", "y", "", "c.bias")
    graph = Graph((ValueInfo("x", "float32", (1, 1, 1, 1)),), (ValueInfo("y", "float32", (1, len(finite), 1, 1)),), (node,))
    model = CompressedModel(graph, {"c.weight": weight, "c.bias": finite})
    [y] = opq.Session(model).run(None, {"x": np.ones((1, 1, 1, 1), np.float32)})
    np.testing.assert_array_equal(y.ravel(), finite)


@given(bit_patterns, st.sampled_from([None, *HALVES]))
def test_what_is_written_is_read(bits, half):
    """Any float32 tensor to the bit, in two bytes an element exactly where these hold it."""
    values = bits.view(np.float32) if half is None else round_to(bits.view(np.float32), half)
    again, [a], [b] = read_by_both({"t": values})
    for result in (a, b):
        assert result.dtype == np.float32
        assert result.shape == values.shape
        np.testing.assert_array_equal(result.view(np.uint32), values.view(np.uint32))
    assert again.entries["t"].codec == (exact_half(values) or "raw")
    assert again.entries["t"].bytes == values.size * (4 if again.entries["t"].codec == "raw" else 2)
    assert half is None or again.entries["t"].codec != "raw"


@given(st.integers(1, 9), st.integers(0, 2**32), st.sampled_from([None, *HALVES]))
def test_channel_scales_take_two_bytes_where_these_hold_them(channels, seed, half):
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.uniform(-80, 80, size=channels)).astype(np.float32)
    if half is not None:
        scale = round_to(np.minimum(scale, np.float32(60000)), half)
    tensor = QuantizedTensor(rng.integers(-7, 8, (channels, 5)).astype(np.int8), 0.5, 7, scale, 0)
    directory, data = tensor_section.write_tensors({"w": tensor}, _core.encode_codes)
    assert (directory, data) == tensor_section.write_tensors({"w": tensor}, codec.encode)
    again = from_bytes(CompressedModel(None, {"w": tensor}).to_bytes())["w"]
    np.testing.assert_array_equal(again.scale, scale, strict=True)
    assert directory[-1] == {None: 0, **NUMBERS}[exact_half(scale)]
    assert half is None or directory[-1] != 0


@pytest.mark.parametrize("number", [4, 5])
def test_two_byte_payloads_that_do_not_fit(number):
    assert from_bytes(file_of(entry(1, number, (3,), 6), bytes(6)))["w"].dtype == np.float32
    for size in (0, 5, 7, 12):
        both_refuse(file_of(entry(1, number, (3,), size), bytes(size)))
    for dtype in (2, 3):
        both_refuse(file_of(entry(dtype, number, (3,), 6), bytes(6)))
    for unknown in (6, 7, 255):
        both_refuse(file_of(entry(1, unknown, (3,), 6), bytes(6)))


def test_channel_scales_that_do_not_fit():
    """Two channels of two packed codes, in one byte of code stream."""

    def file(axis, number, scales):
        extra = struct.pack("<fHBB", 0.5, 1, axis, number)
        return file_of(entry(1, 1, (2, 2), len(scales) + 1, extra), scales + b"\x55")

    for number, scales in ((0, struct.pack("<2f", 1, 2)), (4, struct.pack("<2e", 1, 2)), (5, b"\x80\x3f\x00\x40")):
        np.testing.assert_array_equal(from_bytes(file(0, number, scales))["w"].scale, [1, 2])
        assert _core.Network(file(0, number, scales)).packed_bytes >= 0
        both_refuse(file(0, number, scales[:-1]))
        both_refuse(file(0, number, scales + b"\0"))
        if number:
            both_refuse(file(255, number, b""))
    for number, infinite in ((4, b"\x00\x7c"), (4, b"\x01\xfc"), (5, b"\x80\xff"), (5, b"\xc0\x7f")):
        both_refuse(file(0, number, infinite + b"\0\0"))
    for number in (1, 2, 6, 255):
        both_refuse(file(0, number, bytes(4)))
        both_refuse(file(255, number, b""))
    assert from_bytes(file(255, 0, b""))["w"].scale is None
