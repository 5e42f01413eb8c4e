"""The sections TENS and DATA: the directory of tensors and their payloads (docs/format.md)."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from opq.errors import FormatError
from opq.quantization import MAX_LEVELS, QuantizedTensor
from opq.reference.binary import Reader, pack_string

Tensor = npt.NDArray[Any] | QuantizedTensor
Encoder = Callable[[npt.NDArray[np.int8], int, str], bytes]
Decoder = Callable[[bytes | memoryview, int, int, str], npt.NDArray[np.int8]]

_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 2: np.dtype("<i4"), 3: np.dtype("<i8")}
CODECS = ("raw", "packed", "rans0")
_NO_AXIS = 255
_MAX_RANK = 8
_MAX_TENSORS = 1_000_000
_MAX_ELEMENTS = 1 << 36
# Codes that a few bytes may declare, in one rans0 tensor and in all coded tensors together, and per byte more of them.
_MAX_CODES, _MAX_ALL_CODES, _CODES_PER_BYTE = 1 << 24, 1 << 28, 512


@dataclass(frozen=True)
class TensorEntry:
    """How a tensor lies in the file: for `opq inspect`."""

    codec: str
    bytes: int


def write_tensors(tensors: Mapping[str, Tensor], encode: Encoder) -> tuple[bytes, bytes]:
    """(TENS, DATA). Codes take the smaller of the two code streams."""
    directory, payloads = [struct.pack("<I", len(tensors))], []
    for name, tensor in tensors.items():
        if isinstance(tensor, QuantizedTensor):
            stream, codec = min(
                ((encode(tensor.codes.ravel(), tensor.levels, codec), CODECS.index(codec)) for codec in CODECS[1:]),
                key=lambda choice: len(choice[0]),
            )
            scale = b"" if tensor.scale is None else tensor.scale.astype("<f4").tobytes()
            axis = _NO_AXIS if tensor.axis is None else tensor.axis
            payload, dtype = scale + stream, 1
            extra = struct.pack("<fHBB", tensor.step, tensor.levels, axis, 0)
        else:
            dtype = next((code for code, kind in _TYPES.items() if kind == tensor.dtype), 0)
            if not dtype:
                raise FormatError(f"tensor {name!r}: the format has no element type {tensor.dtype}")
            payload, extra, codec = np.ascontiguousarray(tensor, dtype=_TYPES[dtype]).tobytes(), b"", 0
        if len(tensor.shape) > _MAX_RANK or not name:
            raise FormatError(f"tensor {name!r}: the format needs a name and at most {_MAX_RANK} dimensions")
        header = struct.pack("<BBBB", dtype, codec, len(tensor.shape), 0)
        dims = struct.pack(f"<{len(tensor.shape)}QQ", *tensor.shape, len(payload))
        directory.append(pack_string(name) + header + dims + extra)
        payloads.append(payload)
    return b"".join(directory), b"".join(payloads)


def read_tensors(directory: memoryview, data: memoryview, decode: Decoder) -> tuple[dict[str, Tensor], dict[str, TensorEntry]]:
    """The tensors by name, and how each lies in the file. Raises FormatError naming the tensor."""
    reader = Reader(directory, "TENS")
    tensors: dict[str, Tensor] = {}
    entries: dict[str, TensorEntry] = {}
    position = coded = 0
    for _ in range(reader.count("I", _MAX_TENSORS, 14, "tensors")):
        name = reader.string()
        dtype, codec, rank, zero = (reader.field("B") for _ in range(4))
        if not name or name in tensors or dtype not in _TYPES or codec >= len(CODECS) or rank > _MAX_RANK or zero:
            raise FormatError(f"tensor {name!r}: repeated, or its type, codec or rank is unknown")
        shape = tuple(reader.field("Q") for _ in range(rank))
        count = math.prod(shape)
        # The product is bounded with zeros left out, so that no order of multiplication can overflow in any reader.
        if math.prod(max(1, d) for d in shape) > _MAX_ELEMENTS:
            raise FormatError(f"tensor {name!r}: shape {shape} is too large")
        size = reader.field("Q")
        if size > len(data) - position:
            raise FormatError(f"tensor {name!r}: its payload of {size} bytes reaches beyond the end of the data")
        payload = data[position : position + size]
        position += size
        if codec:
            coded += count
            if coded > _MAX_ALL_CODES + _CODES_PER_BYTE * len(data):
                raise FormatError(f"tensor {name!r}: {coded} codes so far are more than the format allows")
            tensors[name] = _read_codes(name, reader, payload, shape, count, CODECS[codec], dtype, decode)
        elif size != count * _TYPES[dtype].itemsize:
            raise FormatError(f"tensor {name!r}: a payload of {size} bytes for {count} elements")
        else:
            array = np.frombuffer(payload, dtype=_TYPES[dtype]).reshape(shape)
            tensors[name] = array.astype(array.dtype.newbyteorder("="))
        entries[name] = TensorEntry(CODECS[codec], size)
    reader.finish()
    if position != len(data):
        raise FormatError(f"{len(data) - position} bytes of data belong to no tensor")
    return tensors, entries


def _read_codes(
    name: str, reader: Reader, payload: memoryview, shape: tuple[int, ...], count: int, codec: str, dtype: int, decode: Decoder
) -> QuantizedTensor:
    step, levels, axis, zero = reader.float32(), reader.field("H"), reader.field("B"), reader.field("B")
    if dtype != 1 or not count or not (math.isfinite(step) and step > 0) or not 1 <= levels <= MAX_LEVELS or zero:
        raise FormatError(f"tensor {name!r}: step {step}, {levels} levels and {count} elements do not make a codebook tensor")
    if axis != _NO_AXIS and axis >= len(shape):
        raise FormatError(f"tensor {name!r}: channel axis {axis} with {len(shape)} dimensions")
    scale = None
    if axis != _NO_AXIS:
        if len(payload) < 4 * shape[axis]:
            raise FormatError(f"tensor {name!r}: the channel scales are truncated")
        scale = np.frombuffer(payload, dtype="<f4", count=shape[axis]).astype(np.float32)
        payload = payload[4 * shape[axis] :]
        if not np.isfinite(scale).all():
            raise FormatError(f"tensor {name!r}: a channel scale is not finite")
    if codec == "rans0" and count > _MAX_CODES + _CODES_PER_BYTE * len(payload):
        raise FormatError(f"tensor {name!r}: {count} elements in {len(payload)} bytes are more than the format allows")
    try:
        codes = decode(payload, count, levels, codec)
    except FormatError as error:
        raise FormatError(f"tensor {name!r}: {error}") from None
    return QuantizedTensor(codes.reshape(shape), step, levels, scale, None if scale is None else axis)
