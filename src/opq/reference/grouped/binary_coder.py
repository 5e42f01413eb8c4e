"""An adaptive binary range coder, for the parameters of a stream: short sequences of numbers whose distribution is unknown.

The interval [low, high] of 32 bits is split in proportion to the probability of a 1; leading bytes that both ends share move
out. A probability starts at 1/2; the n-th bit moves it by 1 / (n + 1) of the way, so that it is the share of ones seen, with
half a one and half a zero added (Krichevsky and Trofimov's estimate), and n stays at 128 from there on.
"""

from __future__ import annotations

from opq.errors import FormatError

_TOP = 0xFF000000
_SLOWEST = 127
_RATES = [65536 // (n + 2) for n in range(_SLOWEST + 1)]


class Probability:
    """P(bit = 1) in 1/65536, and the number of bits seen."""

    __slots__ = ("seen", "value")

    def __init__(self) -> None:
        self.value, self.seen = 32768, 0

    def update(self, bit: int) -> None:
        """Move towards `bit`, staying inside 32 .. 65504."""
        target = 65504 if bit else 32
        self.value += (target - self.value) * _RATES[self.seen] >> 16
        self.seen = min(self.seen + 1, _SLOWEST)


class _Interval:
    """The numbers that the bits so far leave possible."""

    def __init__(self) -> None:
        self.low, self.high = 0, 0xFFFFFFFF

    def middle(self, probability: Probability) -> int:
        """The last number of the part that stands for a 1."""
        return self.low + ((self.high - self.low) * probability.value >> 16)

    def narrow(self, bit: int, probability: Probability) -> list[int]:
        """Keep the part of `bit`; returns the bytes that are settled with it and moved out."""
        middle = self.middle(probability)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        probability.update(bit)
        settled = []
        while not (self.low ^ self.high) & _TOP:
            settled.append(self.high >> 24)
            self.low = (self.low << 8) & 0xFFFFFFFF
            self.high = (self.high << 8) & 0xFFFFFFFF | 0xFF
        return settled


class Encoder:
    """Bits to bytes."""

    def __init__(self) -> None:
        self._interval = _Interval()
        self._bytes = bytearray()

    def bit(self, bit: int, probability: Probability) -> int:
        """Append one bit; returns it, as the decoder does."""
        self._bytes += bytes(self._interval.narrow(bit, probability))
        return bit

    def finish(self) -> bytes:
        """The bytes: the fewest that, with zeros behind them, lie in the interval."""
        low, high = self._interval.low, self._interval.high
        for size in range(5):
            keep = 32 - 8 * size
            value = (low + (1 << keep) - 1) >> keep << keep
            if low <= value <= high:
                break
        return bytes(self._bytes) + value.to_bytes(5, "big")[1 : 1 + size]


class Decoder:
    """Bytes to bits. Bytes behind the end are zeros."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self._interval = _Interval()
        self._position = self._code = 0
        for _ in range(4):
            self._next()

    def _next(self) -> None:
        byte = self._data[self._position] if self._position < len(self._data) else 0
        self._code = (self._code << 8) & 0xFFFFFFFF | byte
        self._position += 1

    def bit(self, bit: int | None, probability: Probability) -> int:
        """The next bit. The argument is for the encoder and ignored."""
        bit = int(self._code <= self._interval.middle(probability))
        for _ in self._interval.narrow(bit, probability):
            self._next()
        return bit

    def finish(self) -> None:
        """Raises FormatError unless every byte was looked at."""
        if self._position < len(self._data):
            raise FormatError("grouped codes: bytes behind the parameters")
