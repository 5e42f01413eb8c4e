"""Interleaved range asymmetric numeral coding over several alphabets: J. Duda, arXiv:1311.2540; F. Giesen, arXiv:1402.3392.

Symbol i of a pass belongs to lane i mod lanes; the lanes share one stream of 16-bit words, lane 0 first. States lie in
[2^16, 2^32). Before the first symbol is written, and after the last one is read, a state is 2^16 and 16 bits of other data,
which so cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from opq.errors import FormatError
from opq.reference.grouped.tables import SCALE, SCALE_BITS, Int

_LOW = 1 << 16

# (lanes' slots, indices of the symbols) -> (values, frequencies, starts)
Lookup = Callable[[Int, slice], tuple[Int, Int, Int]]


class Encoder:
    """Takes passes from the last to the first, since a decoder pops what was pushed last."""

    def __init__(self, passengers: Int) -> None:
        """`passengers` [lanes]: 16 bits for each state to start from."""
        self._state = _LOW | passengers
        self._words: list[Int] = []

    def push(self, frequencies: Int, starts: Int) -> None:
        """One pass: the range of each of its symbols, in the order in which they will be decoded."""
        lanes = self._state.size
        for first in range((frequencies.size - 1) // lanes * lanes, -1, -lanes):
            f, s = frequencies[first : first + lanes], starts[first : first + lanes]
            x = self._state[: f.size]
            full = x >= f << 20
            self._words.append((x[full] & 0xFFFF)[::-1])
            x[full] >>= 16
            x[:] = (x // f << SCALE_BITS) + x % f + s

    def finish(self) -> bytes:
        """The states, then the words."""
        words = np.concatenate(self._words)[::-1] if self._words else np.zeros(0)
        return self._state.astype("<u4").tobytes() + words.astype("<u2").tobytes()


class Decoder:
    """Reads the states at the start of `data`, then words as they are needed. Raises FormatError."""

    def __init__(self, data: bytes | memoryview, lanes: int) -> None:
        if len(data) < 4 * lanes:
            raise FormatError("grouped codes: a chunk is shorter than its states")
        self._state = np.frombuffer(data, dtype="<u4", count=lanes).astype(np.int64)
        if (self._state < _LOW).any():
            raise FormatError("grouped codes: a state is below 2^16")
        self._words = np.frombuffer(data, dtype="<u2", count=(len(data) - 4 * lanes) // 2, offset=4 * lanes).astype(np.int64)
        self._used = 0

    def pop(self, count: int, lookup: Lookup) -> Int:
        """One pass: `count` values."""
        values = np.empty(count, dtype=np.int64)
        lanes = self._state.size
        for first in range(0, count, lanes):
            here = slice(first, min(count, first + lanes))
            x = self._state[: here.stop - first]  # a view
            slot = x & (SCALE - 1)
            values[here], frequency, start = lookup(slot, here)
            x[:] = frequency * (x >> SCALE_BITS) + slot - start
            low = np.flatnonzero(x < _LOW)
            if self._used + low.size > self._words.size:
                raise FormatError("grouped codes: a chunk ends too early")
            x[low] = x[low] << 16 | self._words[self._used : self._used + low.size]
            self._used += low.size
        return values

    def finish(self) -> tuple[Int, int]:
        """Checks the final states; returns the passengers [lanes] and the number of bytes read."""
        if (self._state >> 16 != 1).any():
            raise FormatError("grouped codes: a chunk does not end in a state that it can have started from")
        return self._state - _LOW, 4 * self._state.size + 2 * self._used
