"""Encoder and decoder of the grouped stream. The encoder's choice of parameters is in `fit`."""

from __future__ import annotations

from math import comb, prod

import numpy as np
import numpy.typing as npt

from opq.errors import FormatError
from opq.reference.grouped.fit import fit
from opq.reference.grouped.magnitudes import join, split, widths
from opq.reference.grouped.parameters import CHUNK_CODES, COLUMN_GROUP, Parameters, decode_parameters, encode_parameters
from opq.reference.grouped.rans import Decoder, Encoder
from opq.reference.grouped.signs import differences, from_differences, references
from opq.reference.grouped.tables import GROUP_SIZES, SCALE, Int, masks


def layout(shape: tuple[int, ...]) -> tuple[int, int]:
    """(row length, kernel) in which codes of this shape are best coded.

    A row is an output channel's weights, [output channels, input channels, kernel...]; its groups are the kernels where these
    have 4 to 10 codes. Rows that are too long, or short and not whole groups, give way to rows of the following axes' codes, or
    of 4096.
    """
    kernel = prod(shape[2:])
    if len(shape) > 2 and kernel in GROUP_SIZES and prod(shape[1:]) <= CHUNK_CODES:
        return prod(shape[1:]), kernel
    for first in range(1, len(shape)):
        length = prod(shape[first:])
        if length <= CHUNK_CODES:
            return (length, 0) if length % COLUMN_GROUP == 0 or length >= 8 * COLUMN_GROUP else (4096, 0)
    return 4096, 0


def encode_grouped(codes: npt.NDArray[np.integer], row_length: int, kernel: int) -> bytes:
    """The stream of codes [n], n >= 1, seen in a layout: 1 <= row_length <= 2^18, a multiple of kernel, 0 or 4 to 10."""
    values = codes.astype(np.int64)
    parameters = fit(values, row_length, kernel)
    side = encode_parameters(parameters)
    step = parameters.rows_per_chunk * parameters.row_length
    layout = _Layout(parameters)
    chunks = [_encode_chunk(values[i : i + step], layout, i // parameters.row_length) for i in range(0, parameters.count, step)]
    return b"".join([varint(len(side)), side, *(varint(len(chunk)) for chunk in chunks[:-1]), *chunks])


def decode_grouped(data: bytes | memoryview, count: int, smallest: int, largest: int) -> Int:
    """The `count` codes of a stream, each in smallest..largest. Raises FormatError when it is damaged."""
    size, position = read_varint(data, 0)
    if size > len(data) - position:
        raise FormatError("grouped codes: the parameters are truncated")
    parameters = decode_parameters(data[position : position + size], count)
    position += size
    step = parameters.rows_per_chunk * parameters.row_length
    lengths = []
    for _ in range(step, count, step):
        length, position = read_varint(data, position)
        lengths.append(length)
    if sum(lengths) > len(data) - position:
        raise FormatError(f"grouped codes: chunks of {sum(lengths)} bytes in {len(data) - position}")
    lengths.append(len(data) - position - sum(lengths))
    layout = _Layout(parameters)
    codes = np.zeros(count, dtype=np.int64)
    for i, length in enumerate(lengths):
        part = codes[i * step : (i + 1) * step]
        _decode_chunk(data[position : position + length], layout, i * parameters.rows_per_chunk, part)
        position += length
    if int(codes.min()) < smallest or int(codes.max()) > largest:
        raise FormatError(f"grouped codes: {int(codes.min())}..{int(codes.max())} is not in {smallest}..{largest}")
    return codes


class _Layout:
    """Parameters as the tables that a chunk needs."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.buckets = parameters.buckets()
        self.places = parameters.places()
        self.counts = parameters.count_table()
        self.tokens = parameters.token_table()
        self.density_class, self.count_class = parameters.density_class(), parameters.count_class()
        self.signs = parameters.sign_frequencies()

    def rows(self, first_row: int, count: int) -> Int:
        """[groups]: the buckets of the groups of `count` codes from `first_row` on."""
        rows = -(-count // self.parameters.row_length)
        return self.buckets[first_row : first_row + rows].ravel()

    def token_class(self, buckets: Int, counts: Int) -> Int:
        """The class of magnitudes of every nonzero code of the groups."""
        density, count = self.density_class[buckets], self.count_class[counts]
        return np.repeat(density * self.parameters.count_classes + count, counts)

    def sign_symbols(self, nonzero: npt.NDArray[np.bool_], mask: Int) -> Int:
        """The frequency of a negative or differing sign of every nonzero code."""
        if self.parameters.sign_mode == "kernel":
            return self.signs[references(self.parameters.group)[1][mask][nonzero]]
        places = np.broadcast_to(self.places, (len(mask) // len(self.places), *self.places.shape))
        if self.parameters.kernel:
            places = places // self.parameters.kernel
        return self.signs[places.reshape(nonzero.shape)[nonzero]]


def _encode_chunk(codes: Int, layout: _Layout, first_row: int) -> bytes:
    p = layout.parameters
    rows = -(-codes.size // p.row_length)
    full = np.zeros(rows * p.row_length, dtype=np.int64)
    full[: codes.size] = codes
    padded = np.zeros((rows, p.row_length + 1), dtype=np.int64)  # the last column stands for places beyond the row
    padded[:, :-1] = full.reshape(rows, -1)
    grouped = padded[:, layout.places].reshape(-1, p.group)
    nonzero = grouped != 0
    counts = nonzero.sum(axis=1)
    mask = (nonzero << np.arange(p.group)).sum(axis=1)
    buckets = layout.rows(first_row, codes.size)
    values = grouped[nonzero]
    tokens, extra, width = split(np.abs(values) - 1)

    symbol = differences((grouped < 0).astype(np.int64), mask)[nonzero] if p.sign_mode == "kernel" else values < 0
    raw_signs = _raw_signs(p, values.size, int(width.sum()))
    raw = np.concatenate([_bits(extra, width), symbol[:raw_signs].astype(np.uint8)])
    raw = np.concatenate([raw, np.zeros(max(0, 16 * p.lanes - raw.size), dtype=np.uint8)])
    passengers = np.packbits(raw[: 16 * p.lanes], bitorder="little").view("<u2").astype(np.int64)

    encoder = Encoder(passengers)
    if p.sign_mode != "raw":
        frequency, coded = layout.sign_symbols(nonzero, mask)[raw_signs:], symbol[raw_signs:]
        encoder.push(np.where(coded, frequency, SCALE - frequency), np.where(coded, 0, frequency))
    if p.tokens > 1:
        kind = layout.token_class(buckets, counts)
        encoder.push(layout.tokens[0][kind, tokens], layout.tokens[1][kind, tokens])
    encoder.push(*_mask_ranges(p, counts, mask))
    encoder.push(layout.counts[0][buckets, counts], layout.counts[1][buckets, counts])
    return encoder.finish() + np.packbits(raw[16 * p.lanes :], bitorder="little").tobytes()


def _raw_signs(p: Parameters, total: int, extra_bits: int) -> int:
    """How many of a chunk's signs, the first ones, are stored as they are: all, or those that ride in the states."""
    return total if p.sign_mode == "raw" else min(total, max(0, 16 * p.lanes - extra_bits))


def _mask_ranges(p: Parameters, counts: Int, mask: Int) -> tuple[Int, Int]:
    """Frequencies and starts of the masks of the groups that are not empty."""
    frequencies, starts = np.zeros_like(mask), np.zeros_like(mask)
    for count in range(1, p.group + 1):
        here = counts == count
        index = np.searchsorted(masks(p.group, count), mask[here])
        bounds = p.mask_starts(count)
        starts[here], frequencies[here] = bounds[index], np.diff(bounds)[index]
    return frequencies[counts > 0], starts[counts > 0]


def _decode_chunk(data: bytes | memoryview, layout: _Layout, first_row: int, codes: Int) -> None:
    p = layout.parameters
    decoder = Decoder(data, p.lanes)
    buckets = layout.rows(first_row, codes.size)
    count_starts = layout.counts[1]

    def count_of(slot: Int, here: slice) -> tuple[Int, Int, Int]:
        b = buckets[here]
        c = (count_starts[b] <= slot[:, None]).sum(axis=1) - 1
        return c, layout.counts[0][b, c], count_starts[b, c]

    counts = decoder.pop(buckets.size, count_of)
    filled = np.flatnonzero(counts)
    bounds = np.full((p.group + 1, 256), SCALE, dtype=np.int64)  # [count, pattern]: starts; no count has 255 patterns
    for count in range(1, p.group + 1):
        bounds[count, : comb(p.group, count) + 1] = p.mask_starts(count)

    def mask_of(slot: Int, here: slice) -> tuple[Int, Int, Int]:
        c = counts[filled[here]]
        i = (bounds[c] <= slot[:, None]).sum(axis=1) - 1
        return i, bounds[c, i + 1] - bounds[c, i], bounds[c, i]

    mask = np.zeros_like(counts)
    index = decoder.pop(filled.size, mask_of)
    for count in range(1, p.group + 1):
        here = counts[filled] == count
        mask[filled[here]] = masks(p.group, count)[index[here]]
    nonzero = (mask[:, None] >> np.arange(p.group) & 1).astype(bool)
    total = int(counts.sum())
    if total and not p.tokens:
        raise FormatError("grouped codes: nonzero codes without magnitudes")

    tokens = np.zeros(total, dtype=np.int64)
    if p.tokens > 1:
        kind = layout.token_class(buckets, counts)
        token_starts = layout.tokens[1]

        def token_of(slot: Int, here: slice) -> tuple[Int, Int, Int]:
            k = kind[here]
            t = (token_starts[k] <= slot[:, None]).sum(axis=1) - 1
            return t, layout.tokens[0][k, t], token_starts[k, t]

        tokens = decoder.pop(total, token_of)

    width = widths(tokens)
    raw_signs = _raw_signs(p, total, int(width.sum()))
    symbol = np.zeros(total, dtype=np.int64)
    if p.sign_mode != "raw":
        frequency = layout.sign_symbols(nonzero, mask)[raw_signs:]

        def sign_of(slot: Int, here: slice) -> tuple[Int, Int, Int]:
            f = frequency[here]
            negative = (slot < f).astype(np.int64)
            return negative, np.where(negative, f, SCALE - f), np.where(negative, 0, f)

        symbol[raw_signs:] = decoder.pop(total - raw_signs, sign_of)

    passengers, used = decoder.finish()
    raw = _RawBits(passengers, data[used:], int(width.sum()) + raw_signs)
    magnitude = join(tokens, raw.take(width)) + 1
    symbol[:raw_signs] = raw.take(np.ones(raw_signs, dtype=np.int64))
    negative = symbol
    if p.sign_mode == "kernel":
        different = np.zeros(nonzero.shape, dtype=np.int64)
        different[nonzero] = symbol
        negative = from_differences(different, mask)[nonzero]
    grouped = np.zeros(nonzero.shape, dtype=np.int64)
    grouped[nonzero] = np.where(negative, -magnitude, magnitude)

    rows = -(-codes.size // p.row_length)
    padded = np.zeros((rows, p.row_length + 1), dtype=np.int64)
    target = grouped.reshape(rows, *layout.places.shape)
    beyond = layout.places == p.row_length
    if target[:, beyond].any():
        raise FormatError("grouped codes: a nonzero code beyond the end of its row")
    padded[:, layout.places[~beyond]] = target[:, ~beyond]
    flat = padded[:, :-1].ravel()
    if flat[codes.size :].any():
        raise FormatError("grouped codes: a nonzero code behind the last one")
    codes[:] = flat[: codes.size]


class _RawBits:
    """Bits that were not worth coding: the first ones rode in the states, the others fill bytes from the lowest bit."""

    def __init__(self, passengers: Int, data: bytes | memoryview, count: int) -> None:
        rest = max(0, count - 16 * passengers.size)
        if len(data) != (rest + 7) // 8:
            raise FormatError(f"grouped codes: {len(data)} bytes for {rest} raw bits")
        self._bits = np.unpackbits(
            np.frombuffer(passengers.astype("<u2").tobytes() + bytes(data), dtype=np.uint8), bitorder="little"
        )
        if self._bits[count:].any():
            raise FormatError("grouped codes: the bits behind the last raw bit are not zero")
        self._position = 0

    def take(self, width: Int) -> Int:
        """One number of each width."""
        result = np.zeros_like(width)
        start = self._position + np.cumsum(width) - width
        for i in range(int(width.max(initial=0))):
            here = width > i
            result[here] |= self._bits[start[here] + i].astype(np.int64) << i
        self._position += int(width.sum())
        return result


def _bits(values: Int, width: Int) -> npt.NDArray[np.uint8]:
    """The bits of all values one after another, lowest first."""
    index = np.repeat(np.arange(width.size), width)
    place = np.arange(index.size) - np.repeat(np.cumsum(width) - width, width)
    return (values[index] >> place & 1).astype(np.uint8)


def varint(value: int) -> bytes:
    """7 bits per byte, lowest first, bit 7 set while more follow."""
    result = bytearray()
    while value >= 128:
        result.append(value & 127 | 128)
        value >>= 7
    return bytes([*result, value])


def read_varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """(value, position behind it); at most 5 bytes and no unneeded last one. Raises FormatError."""
    value = 0
    for i in range(5):
        if position + i >= len(data):
            break
        byte = data[position + i]
        value |= (byte & 127) << 7 * i
        if byte < 128:
            if i and not byte:
                break
            return value, position + i + 1
    raise FormatError("grouped codes: a length is truncated or not a varint of at most 5 bytes")
