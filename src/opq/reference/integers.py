"""Integer arrays as bytes that stand alone: type, shape, smallest stream, checksum (docs/format.md, Integer arrays)."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from opq.errors import FormatError
from opq.reference import codec
from opq.reference.grouped.stream import decode_grouped, encode_grouped, layout, read_varint, varint

MAGIC = b"\x89C"
TYPES = tuple(np.dtype(name) for name in ("int8", "int16", "int32", "uint8", "uint16"))
_CODECS = ("raw", "packed", "rans0", "grouped")
_MAX_RANK, _MAX_ELEMENTS, _MAX_LEVELS = 8, 1 << 36, 127
_MAX_CODES, _CODES_PER_BYTE = 1 << 24, 512

# The streams by codec: of int8 codes with levels, and of any integers.
EncodeCodes = Callable[[npt.NDArray[np.int8], int, str], bytes]
DecodeCodes = Callable[[memoryview, int, int, str], npt.NDArray[np.int8]]
EncodeIntegers = Callable[[npt.NDArray[Any]], bytes]
DecodeIntegers = Callable[[memoryview, int, "np.dtype[Any]"], npt.NDArray[Any]]
Checksum = Callable[[bytes | memoryview], int]


def encode_integers(
    values: npt.NDArray[Any], encode_codes: EncodeCodes, encode_grouped: EncodeIntegers, checksum: Checksum
) -> bytes:
    """The bytes of `values`, a C-contiguous array of one of TYPES."""
    kind = TYPES.index(values.dtype)
    levels = max(abs(int(values.min())), abs(int(values.max()))) if values.size else 0
    raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
    streams = [(raw, 0, b"")]
    if values.size:
        if 1 <= levels <= _MAX_LEVELS:
            codes = values.astype(np.int8)
            streams += [(encode_codes(codes, levels, _CODECS[i]), i, bytes([levels])) for i in (1, 2)]
        streams.append((encode_grouped(values), 3, b""))
    readable = [choice for choice in streams if choice[1] < 2 or values.size <= _MAX_CODES + _CODES_PER_BYTE * len(choice[0])]
    stream, number, extra = min(readable, key=lambda choice: len(choice[0]) + len(choice[2]))
    shape = b"".join(varint(size) for size in values.shape)
    head = number + len(_CODECS) * (kind + len(TYPES) * values.ndim)
    data = MAGIC + bytes([head]) + shape + extra + stream
    return data + checksum(data).to_bytes(4, "little")


def decode_integers(
    data: memoryview, decode_codes: DecodeCodes, decode_grouped: DecodeIntegers, checksum: Checksum
) -> npt.NDArray[Any]:
    """The array in `data`. Raises FormatError."""
    if len(data) < 7 or data[:2] != MAGIC:
        raise FormatError("no integer array: the first two bytes or the length are wrong")
    if checksum(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise FormatError("integer array: the checksum does not fit")
    rest, number = divmod(data[2], len(_CODECS))
    rank, kind = divmod(rest, len(TYPES))
    if rank > _MAX_RANK:
        raise FormatError(f"integer array: {rank} dimensions, at most {_MAX_RANK} are known")
    data, position, shape = data[:-4], 3, []
    for _ in range(rank):
        size, position = read_varint(data, position)
        shape.append(size)
    count = prod(shape)
    if prod(max(1, size) for size in shape) > _MAX_ELEMENTS:
        raise FormatError(f"integer array: shape {tuple(shape)} is too large")
    stream, dtype, name = data[position:], TYPES[kind], _CODECS[number]
    if name == "raw":
        if len(stream) != count * dtype.itemsize:
            raise FormatError(f"integer array: {len(stream)} bytes for {count} {dtype} numbers")
        values = np.frombuffer(stream, dtype=dtype.newbyteorder("<")).astype(dtype)
        return values.reshape(shape)
    levels = 0
    if name != "grouped":
        if not stream or not 1 <= stream[0] <= _MAX_LEVELS:
            raise FormatError("integer array: the number of levels is missing or not 1 to 127")
        levels, stream = stream[0], stream[1:]
    if not count or (name != "packed" and count > _MAX_CODES + _CODES_PER_BYTE * len(stream)):
        raise FormatError(f"integer array: {count} elements in {len(stream)} bytes are more than the format allows")
    if name == "grouped":
        return decode_grouped(stream, count, dtype).reshape(shape)
    codes = decode_codes(stream, count, levels, name)
    if dtype.kind == "u" and int(codes.min()) < 0:
        raise FormatError(f"integer array: a negative number of type {dtype}")
    return codes.astype(dtype).reshape(shape)


def reference_encode(values: npt.NDArray[Any], checksum: Checksum) -> bytes:
    """`encode_integers` in NumPy alone."""
    return encode_integers(values, codec.encode, lambda v: encode_grouped(v.ravel(), *layout(v.shape)), checksum)


def reference_decode(data: memoryview, checksum: Checksum) -> npt.NDArray[Any]:
    """`decode_integers` in NumPy alone."""

    def grouped(stream: memoryview, count: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        limits = np.iinfo(dtype)
        return decode_grouped(stream, count, int(limits.min), int(limits.max)).astype(dtype)

    return decode_integers(data, codec.decode, grouped, checksum)
