"""A chunk of a grouped stream: its symbols, and their coding."""

from __future__ import annotations

from math import comb
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opq.errors import FormatError
from opq.reference.grouped.magnitudes import join, split, widths
from opq.reference.grouped.parameters import Parameters
from opq.reference.grouped.rans import Decoder, Encoder
from opq.reference.grouped.signs import differences, from_differences, references
from opq.reference.grouped.tables import SCALE, Int, masks


class Tables:
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


class Symbols:
    """What a chunk of codes is written as, in the order of the stream.

    buckets, counts, mask     of every group
    nonzero                   [groups, group]
    tokens, extra, width      of every nonzero code: its token, its extra bits and their number
    sign                      of every nonzero code: 1 negative, or differing from its reference
    raw_signs                 how many of the signs, the first ones, are stored as they are
    """

    def __init__(self, codes: Int, tables: Tables, first_row: int) -> None:
        p = tables.parameters
        rows = -(-codes.size // p.row_length)
        full = np.zeros(rows * p.row_length, dtype=np.int64)
        full[: codes.size] = codes
        padded = np.zeros((rows, p.row_length + 1), dtype=np.int64)  # the last column stands for places beyond the row
        padded[:, :-1] = full.reshape(rows, -1)
        grouped = padded[:, tables.places].reshape(-1, p.group)
        self.nonzero = grouped != 0
        self.counts = self.nonzero.sum(axis=1)
        self.mask = (self.nonzero << np.arange(p.group)).sum(axis=1)
        self.buckets = tables.rows(first_row, codes.size)
        values = grouped[self.nonzero]
        self.tokens, self.extra, self.width = split(np.abs(values) - 1)
        negative = (grouped < 0).astype(np.int64)
        self.sign = (differences(negative, self.mask) if p.sign_mode == "kernel" else negative)[self.nonzero]
        self.raw_signs = _raw_signs(p, values.size, int(self.width.sum()))

    def passes(self, tables: Tables) -> Passes:
        """Frequencies and starts of the counts, masks, magnitudes and signs that are coded."""
        p = tables.parameters
        nothing = np.zeros(0, dtype=np.int64)
        magnitudes = signs = (nothing, nothing)
        if p.tokens > 1:
            kind = tables.token_class(self.buckets, self.counts)
            magnitudes = tables.tokens[0][kind, self.tokens], tables.tokens[1][kind, self.tokens]
        if p.sign_mode != "raw":
            frequency = tables.sign_symbols(self.nonzero, self.mask)[self.raw_signs :]
            coded = self.sign[self.raw_signs :] != 0
            signs = np.where(coded, frequency, SCALE - frequency), np.where(coded, 0, frequency)
        counts = tables.counts[0][self.buckets, self.counts], tables.counts[1][self.buckets, self.counts]
        return Passes(counts, _mask_ranges(p, self.counts, self.mask), magnitudes, signs)


class Passes(NamedTuple):
    """The four passes over a chunk, each as frequencies and starts of its symbols."""

    counts: tuple[Int, Int]
    masks: tuple[Int, Int]
    magnitudes: tuple[Int, Int]
    signs: tuple[Int, Int]


def encode_chunk(codes: Int, tables: Tables, first_row: int) -> bytes:
    """The bytes of the codes from a row on."""
    p = tables.parameters
    symbols = Symbols(codes, tables, first_row)
    raw = np.concatenate([_bits(symbols.extra, symbols.width), symbols.sign[: symbols.raw_signs].astype(np.uint8)])
    raw = np.concatenate([raw, np.zeros(max(0, 16 * p.lanes - raw.size), dtype=np.uint8)])
    encoder = Encoder(np.packbits(raw[: 16 * p.lanes], bitorder="little").view("<u2").astype(np.int64))
    for one in reversed(symbols.passes(tables)):
        encoder.push(*one)
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


def decode_chunk(data: bytes | memoryview, tables: Tables, first_row: int, codes: Int) -> None:
    """Fills `codes`, from a row on. Raises FormatError."""
    p = tables.parameters
    decoder = Decoder(data, p.lanes)
    buckets = tables.rows(first_row, codes.size)
    count_starts = tables.counts[1]

    def count_of(slot: Int, here: slice) -> tuple[Int, Int, Int]:
        b = buckets[here]
        c = (count_starts[b] <= slot[:, None]).sum(axis=1) - 1
        return c, tables.counts[0][b, c], count_starts[b, c]

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
    beyond = tables.places == p.row_length
    if nonzero.reshape(-1, *tables.places.shape)[:, beyond].any():
        raise FormatError("grouped codes: a nonzero code beyond the end of its row")
    total = int(counts.sum())
    if total and not p.tokens:
        raise FormatError("grouped codes: nonzero codes without magnitudes")

    tokens = np.zeros(total, dtype=np.int64)
    if p.tokens > 1:
        kind = tables.token_class(buckets, counts)
        token_starts = tables.tokens[1]

        def token_of(slot: Int, here: slice) -> tuple[Int, Int, Int]:
            k = kind[here]
            t = (token_starts[k] <= slot[:, None]).sum(axis=1) - 1
            return t, tables.tokens[0][k, t], token_starts[k, t]

        tokens = decoder.pop(total, token_of)

    width = widths(tokens)
    raw_signs = _raw_signs(p, total, int(width.sum()))
    symbol = np.zeros(total, dtype=np.int64)
    if p.sign_mode != "raw":
        frequency = tables.sign_symbols(nonzero, mask)[raw_signs:]

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
    target = grouped.reshape(rows, *tables.places.shape)
    padded[:, tables.places[~beyond]] = target[:, ~beyond]
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
