"""Encoder and decoder of the grouped stream. The encoder's choice of parameters is in `fit`."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from opq.errors import FormatError
from opq.reference.grouped.chunk import Tables, decode_chunk, encode_chunk
from opq.reference.grouped.fit import fit
from opq.reference.grouped.parameters import CHUNK_CODES, COLUMN_GROUP, decode_parameters, encode_parameters
from opq.reference.grouped.tables import GROUP_SIZES, Int


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
    tables = Tables(parameters)
    chunks = [encode_chunk(values[i : i + step], tables, i // parameters.row_length) for i in range(0, parameters.count, step)]
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
    tables = Tables(parameters)
    codes = np.zeros(count, dtype=np.int64)
    for i, length in enumerate(lengths):
        part = codes[i * step : (i + 1) * step]
        decode_chunk(data[position : position + length], tables, i * parameters.rows_per_chunk, part)
        position += length
    if int(codes.min()) < smallest or int(codes.max()) > largest:
        raise FormatError(f"grouped codes: {int(codes.min())}..{int(codes.max())} is not in {smallest}..{largest}")
    return codes


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
