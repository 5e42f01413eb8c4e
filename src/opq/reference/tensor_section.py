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
from opq.reference.half_precision import HALVES, Float32, exact_half, narrow, widen

Tensor = npt.NDArray[Any] | QuantizedTensor
Encoder = Callable[[npt.NDArray[np.int8], int, str], bytes]
Decoder = Callable[[bytes | memoryview, int, int, str], npt.NDArray[np.int8]]
Progress = Callable[[int, int], None]  # (done, total): elements, or bytes

_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 2: np.dtype("<i4"), 3: np.dtype("<i8")}
CODECS = {0: "raw", 1: "packed", 2: "rans0", 3: "grouped", 4: "float16", 5: "bfloat16"}
_NUMBERS = {codec: number for number, codec in CODECS.items()}
_CODE_CODECS = ("packed", "rans0", "grouped")
_FLOAT_BYTES = {"raw": 4, "float16": 2, "bfloat16": 2}  # of one number, by the codecs that float32 tensors and scales have
_NO_AXIS = 255
_MAX_RANK = 8
_MAX_TENSORS = 1_000_000
_MAX_ELEMENTS = 1 << 36
# Codes that a few bytes may declare, in one tensor as in all coded tensors together, and per byte more of them.
_MAX_CODES, _CODES_PER_BYTE = 1 << 24, 512
_BLOCK = 1 << 16  # codes that are counted at a time: a count makes 8 bytes of each


@dataclass(frozen=True)
class TensorEntry:
    """How a tensor lies in the file, for `opq inspect`: its codec and bytes, of which the first are its channels' scales."""

    codec: str
    bytes: int
    scale_bytes: int = 0


def no_progress(done: int, total: int) -> None:
    """Tells nobody."""


def write_tensors(tensors: Mapping[str, Tensor], encode: Encoder, progress: Progress = no_progress) -> tuple[bytes, bytes]:
    """(TENS, DATA). Codes take the shortest stream that readers accept, floats two bytes each where these hold them exactly."""
    directory, payloads = [struct.pack("<I", len(tensors))], []
    coded = written = done = 0  # codes, bytes, elements so far
    total = sum(math.prod(tensor.shape) for tensor in tensors.values())
    for name, tensor in tensors.items():
        if isinstance(tensor, QuantizedTensor):
            coded += tensor.codes.size
            # Packed codes always pass: they are less than 512 to a byte.
            most = max(tensor.codes.size - _MAX_CODES, coded - _MAX_CODES - _CODES_PER_BYTE * written)
            stream, codec = _shortest_stream(tensor, encode, most)
            scale, scale_codec = (b"", "raw") if tensor.scale is None else _pack_floats(tensor.scale)
            axis = _NO_AXIS if tensor.axis is None else tensor.axis
            payload, dtype = scale + stream, 1
            extra = struct.pack("<fHBB", tensor.step, tensor.levels, axis, _NUMBERS[scale_codec])
        else:
            dtype, extra = next((code for code, kind in _TYPES.items() if kind == tensor.dtype), 0), b""
            if not dtype:
                raise FormatError(f"tensor {name!r}: the format has no element type {tensor.dtype}")
            payload, codec = _pack_floats(tensor) if dtype == 1 else (tensor.astype(_TYPES[dtype]).tobytes(), "raw")
        if len(tensor.shape) > _MAX_RANK or not name:
            raise FormatError(f"tensor {name!r}: the format needs a name and at most {_MAX_RANK} dimensions")
        header = struct.pack("<BBBB", dtype, _NUMBERS[codec], len(tensor.shape), 0)
        dims = struct.pack(f"<{len(tensor.shape)}QQ", *tensor.shape, len(payload))
        directory.append(pack_string(name) + header + dims + extra)
        payloads.append(payload)
        written += len(payload)
        done += math.prod(tensor.shape)
        progress(done, total)
    return b"".join(directory), b"".join(payloads)


def read_tensors(
    directory: memoryview, data: memoryview, decode: Decoder, progress: Progress = no_progress
) -> tuple[dict[str, Tensor], dict[str, TensorEntry]]:
    """The tensors by name, and how each lies in the file. Raises FormatError naming the tensor.

    progress  (done, total) counts bytes here, since the elements of tensors that follow are not known yet
    """
    reader = Reader(directory, "TENS")
    tensors: dict[str, Tensor] = {}
    entries: dict[str, TensorEntry] = {}
    position = coded = 0
    for _ in range(reader.count("I", _MAX_TENSORS, 14, "tensors")):
        name = reader.string()
        dtype, number, rank, zero = (reader.field("B") for _ in range(4))
        if not name or name in tensors or dtype not in _TYPES or number not in CODECS or rank > _MAX_RANK or zero:
            raise FormatError(f"tensor {name!r}: repeated, or its type, codec or rank is unknown")
        codec, scale_width = CODECS[number], 0
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
        if codec != "raw" and dtype != 1:
            raise FormatError(f"tensor {name!r}: codec {codec} is for float32 only")
        if codec in _CODE_CODECS:
            coded += count
            if coded > _MAX_CODES + _CODES_PER_BYTE * len(data):
                raise FormatError(f"tensor {name!r}: {coded} codes so far are more than the format allows")
            tensors[name], scale_width = _read_codes(name, reader, payload, shape, count, codec, decode)
        elif size != count * (_FLOAT_BYTES[codec] if dtype == 1 else _TYPES[dtype].itemsize):
            raise FormatError(f"tensor {name!r}: a payload of {size} bytes for {count} elements")
        elif dtype == 1:
            tensors[name] = _unpack_floats(payload, codec).reshape(shape)
        else:
            array = np.frombuffer(payload, dtype=_TYPES[dtype]).reshape(shape)
            tensors[name] = array.astype(array.dtype.newbyteorder("="))
        tensor = tensors[name]
        scales = tensor.scale.size if isinstance(tensor, QuantizedTensor) and tensor.scale is not None else 0
        entries[name] = TensorEntry(codec, size, scales * scale_width)
        progress(position, len(data))
    reader.finish()
    if position != len(data):
        raise FormatError(f"{len(data) - position} bytes of data belong to no tensor")
    return tensors, entries


def _shortest_stream(tensor: QuantizedTensor, encode: Encoder, most: int) -> tuple[bytes, str]:
    """The shortest stream of the codes with at most 512 of `most` codes to a byte, and its codec; of equals the simpler one.

    The grouped stream is made first. A codec that cannot give less is not tried.
    """
    codes = np.ascontiguousarray(tensor.codes)
    counts = np.zeros(256, dtype=np.int64)
    for begin in range(0, codes.size, _BLOCK):
        counts += np.bincount(codes.reshape(-1)[begin : begin + _BLOCK].view(np.uint8), minlength=256)
    shares = counts[counts > 0] / codes.size
    least = {
        "grouped": 0,
        "rans0": int(-codes.size * float(shares @ np.log2(shares)) / 8.0),  # the entropy: a code with one table has no less
        "packed": (codes.size * (2 * tensor.levels).bit_length() + 7) // 8,
    }
    best: tuple[bytes, str] | None = None
    for codec in reversed(_CODE_CODECS):
        if best is not None and least[codec] > len(best[0]):
            continue
        stream = encode(codes, tensor.levels, codec)
        if most <= _CODES_PER_BYTE * len(stream) and (best is None or len(stream) <= len(best[0])):
            best = stream, codec
    assert best is not None  # packed codes always pass
    return best


def _pack_floats(values: Float32) -> tuple[bytes, str]:
    """The shortest payload that holds every value exactly, and its codec."""
    half = exact_half(values)
    if half is None:
        return values.astype("<f4").tobytes(), "raw"
    return narrow(values, half).astype("<u2").tobytes(), half


def _unpack_floats(payload: memoryview, codec: str) -> Float32:
    if codec in HALVES:
        return widen(np.frombuffer(payload, dtype="<u2").astype(np.uint16), codec)
    return np.frombuffer(payload, dtype="<f4").astype(np.float32)


def _read_codes(
    name: str, reader: Reader, payload: memoryview, shape: tuple[int, ...], count: int, codec: str, decode: Decoder
) -> tuple[QuantizedTensor, int]:
    """The tensor, and the bytes of one channel's scale."""
    step, levels, axis = reader.float32(), reader.field("H"), reader.field("B")
    scale_codec = CODECS.get(reader.field("B"), "")
    if not count or not (math.isfinite(step) and step > 0) or not 1 <= levels <= MAX_LEVELS:
        raise FormatError(f"tensor {name!r}: step {step}, {levels} levels and {count} elements do not make a codebook tensor")
    if axis != _NO_AXIS and axis >= len(shape):
        raise FormatError(f"tensor {name!r}: channel axis {axis} with {len(shape)} dimensions")
    if scale_codec not in _FLOAT_BYTES or (axis == _NO_AXIS and scale_codec != "raw"):
        raise FormatError(f"tensor {name!r}: the codec of its channel scales is unknown")
    scale = None
    if axis != _NO_AXIS:
        size = _FLOAT_BYTES[scale_codec] * shape[axis]
        if len(payload) < size:
            raise FormatError(f"tensor {name!r}: the channel scales are truncated")
        scale, payload = _unpack_floats(payload[:size], scale_codec), payload[size:]
        if not np.isfinite(scale).all():
            raise FormatError(f"tensor {name!r}: a channel scale is not finite")
    if codec != "packed" and count > _MAX_CODES + _CODES_PER_BYTE * len(payload):
        raise FormatError(f"tensor {name!r}: {count} elements in {len(payload)} bytes are more than the format allows")
    try:
        codes = decode(payload, count, levels, codec)
    except FormatError as error:
        raise FormatError(f"tensor {name!r}: {error}") from None
    tensor = QuantizedTensor(codes.reshape(shape), step, levels, scale, None if scale is None else axis)
    return tensor, _FLOAT_BYTES[scale_codec]
