"""The code streams of docs/format.md, encoders and decoders: packed bits, static range asymmetric numeral coding (rANS), and
the grouped stream of `opq.reference.grouped`.

They take the codes of one tensor as int8, one or more, with values -levels..levels, and give them as int8 [n]. Decoders raise
FormatError for any stream that an encoder of this format cannot have written.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opq.errors import FormatError
from opq.reference.grouped.stream import decode_grouped, encode_grouped, layout

Codes = npt.NDArray[np.int8]

CHUNK = 1 << 18  # symbols per rans0 chunk
_SCALE_BITS = 12
_SCALE = 1 << _SCALE_BITS
_LOW = 1 << 16  # states live in [2^16, 2^32)


def encode(codes: Codes, levels: int, codec: str) -> bytes:
    """The stream of `codes` in the codec "packed", "rans0", or "grouped", which looks at their shape."""
    if codec == "grouped":
        return encode_grouped(codes.ravel(), *layout(codes.shape))
    return {"packed": _encode_packed, "rans0": _encode_rans}[codec](codes.ravel(), levels)


def decode(data: bytes | memoryview, count: int, levels: int, codec: str) -> Codes:
    """The `count` codes in a stream. Raises FormatError when it is damaged."""
    if codec == "grouped":
        return decode_grouped(data, count, -levels, levels).astype(np.int8)
    return {"packed": _decode_packed, "rans0": _decode_rans}[codec](data, count, levels)


# --- packed --------------------------------------------------------------------------------------------------------------


def _encode_packed(codes: Codes, levels: int) -> bytes:
    width = (2 * levels).bit_length()
    symbols = (codes.astype(np.int16) + levels).astype(np.uint8)
    bits = np.unpackbits(symbols[:, None], axis=1, count=width, bitorder="little")
    return np.packbits(bits.ravel(), bitorder="little").tobytes()


def _decode_packed(data: bytes | memoryview, count: int, levels: int) -> Codes:
    width = (2 * levels).bit_length()
    if len(data) != (count * width + 7) // 8:
        raise FormatError(f"packed codes: {len(data)} bytes for {count} codes of {width} bits")
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
    if bits[count * width :].any():
        raise FormatError("packed codes: the bits behind the last code are not zero")
    symbols = np.packbits(bits[: count * width].reshape(count, width), axis=1, bitorder="little")[:, 0]
    if symbols.max() > 2 * levels:
        raise FormatError(f"packed codes: symbol {symbols.max()} with {levels} levels")
    return (symbols.astype(np.int16) - levels).astype(np.int8)


# --- rans0 ---------------------------------------------------------------------------------------------------------------


def _frequencies(symbols: npt.NDArray[np.uint8], levels: int) -> npt.NDArray[np.int64]:
    """Counts scaled to the sum 4096; a symbol that occurs keeps at least 1, the most frequent one takes the rounding."""
    counts = np.bincount(symbols, minlength=2 * levels + 1)
    scaled = np.where(counts > 0, np.maximum(1, (counts * _SCALE + symbols.size // 2) // symbols.size), 0)
    while (excess := int(scaled.sum()) - _SCALE) != 0:
        scaled[np.argmax(scaled)] -= np.sign(excess)
    return scaled


def _lanes(count: int) -> int:
    return 32 if count >= 1 << 16 else 8 if count >= 1 << 12 else 2


def _encode_rans(codes: Codes, levels: int) -> bytes:
    symbols = (codes.astype(np.int16) + levels).astype(np.uint8)
    frequency = _frequencies(symbols, levels)
    start = np.cumsum(frequency) - frequency
    lanes = _lanes(symbols.size)
    chunks = [
        _encode_chunk(symbols[i : i + CHUNK], frequency.astype(np.uint64), start.astype(np.uint64), lanes)
        for i in range(0, symbols.size, CHUNK)
    ]
    lengths = np.array([len(chunk) for chunk in chunks], dtype="<u4")
    return b"".join([*map(_varint, frequency.tolist()), bytes([lanes]), lengths.tobytes(), *chunks])


def _encode_chunk(
    symbols: npt.NDArray[np.uint8], frequency: npt.NDArray[np.uint64], start: npt.NDArray[np.uint64], lanes: int
) -> bytes:
    """From the last symbol to the first, since a decoder pops what was pushed last; one step handles one symbol per lane."""
    state = np.full(lanes, _LOW, dtype=np.uint64)
    words = []
    for first in range((symbols.size - 1) // lanes * lanes, -1, -lanes):
        step = symbols[first : first + lanes]
        f, x = frequency[step], state[: step.size]
        full = x >= f << np.uint64(20)
        words.append((x[full] & np.uint64(0xFFFF))[::-1].astype("<u2"))
        x = np.where(full, x >> np.uint64(16), x)
        state[: step.size] = (x // f << np.uint64(_SCALE_BITS)) + x % f + start[step]
    return state.astype("<u4").tobytes() + np.concatenate(words)[::-1].tobytes()


def _decode_rans(data: bytes | memoryview, count: int, levels: int) -> Codes:
    frequency, position = read_frequencies(data, 2 * levels + 1)
    if position >= len(data) or data[position] not in (1, 2, 4, 8, 16, 32):
        raise FormatError("rans0 codes: the number of lanes is missing or not 1, 2, 4, 8, 16 or 32")
    lanes = data[position]
    chunks = -(-count // CHUNK)
    position += 1
    if len(data) - position < 4 * chunks:
        raise FormatError("rans0 codes: the chunk lengths are truncated")
    lengths = np.frombuffer(data, dtype="<u4", count=chunks, offset=position).astype(np.int64)
    position += 4 * chunks
    if int(lengths.sum()) != len(data) - position:
        raise FormatError(f"rans0 codes: chunks of {int(lengths.sum())} bytes in {len(data) - position}")
    codes = np.empty(count, dtype=np.int8)
    for i, length in enumerate(lengths.tolist()):
        part = codes[i * CHUNK : (i + 1) * CHUNK]
        symbols = _decode_chunk(data[position : position + length], part.size, frequency, lanes)
        part[:] = (symbols.astype(np.int16) - levels).astype(np.int8)
        position += length
    return codes


def _decode_chunk(data: bytes | memoryview, count: int, frequency: npt.NDArray[np.int64], lanes: int) -> npt.NDArray[np.uint8]:
    if len(data) < 4 * lanes or len(data) % 2:
        raise FormatError(f"rans0 codes: a chunk of {len(data)} bytes with {lanes} lanes")
    state = np.frombuffer(data, dtype="<u4", count=lanes).astype(np.int64)
    words = np.frombuffer(data, dtype="<u2", offset=4 * lanes).astype(np.int64)
    if (state < _LOW).any():
        raise FormatError("rans0 codes: a state is below 2^16")
    start = np.cumsum(frequency) - frequency
    symbol_of_slot = np.repeat(np.arange(frequency.size, dtype=np.uint8), frequency)
    symbols = np.empty(count, dtype=np.uint8)
    used = 0
    for first in range(0, count, lanes):
        x = state[: min(lanes, count - first)]  # a view: the last step may have fewer symbols than lanes
        slot = x & (_SCALE - 1)
        s = symbol_of_slot[slot]
        symbols[first : first + x.size] = s
        x[:] = frequency[s] * (x >> _SCALE_BITS) + slot - start[s]
        refill = np.flatnonzero(x < _LOW)
        if used + refill.size > words.size:
            raise FormatError("rans0 codes: a chunk ends too early")
        x[refill] = x[refill] << 16 | words[used : used + refill.size]
        used += refill.size
    if used != words.size or (state != _LOW).any():
        raise FormatError("rans0 codes: a chunk does not end where it should")
    return symbols


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128, value >> 7])


def read_frequencies(data: bytes | memoryview, count: int) -> tuple[npt.NDArray[np.int64], int]:
    """The frequencies of `count` symbols at the start of a rans0 stream, and their bytes. Raises FormatError."""
    frequency, position = np.zeros(count, dtype=np.int64), 0
    for i in range(count):
        size = 2 if position < len(data) and data[position] & 128 else 1
        if position + size > len(data):
            raise FormatError("rans0 codes: the frequencies are truncated")
        value = data[position] & 127
        if size == 2:
            if not 0 < data[position + 1] < 128:
                raise FormatError("rans0 codes: a frequency is not a varint of at most 2 bytes")
            value |= data[position + 1] << 7
        frequency[i] = value
        position += size
    if int(frequency.sum()) != _SCALE:
        raise FormatError(f"rans0 codes: frequencies sum to {int(frequency.sum())}, expected {_SCALE}")
    return frequency, position
