"""Reading and writing the little-endian fields of a section."""

from __future__ import annotations

import struct

from opq.errors import FormatError

_MAX_STRING = 1024


def pack_string(text: str) -> bytes:
    """A `str` field. Raises FormatError for a text of more than 1024 bytes."""
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError(f"name {text!r} cannot be written as UTF-8") from None
    if len(data) > _MAX_STRING:
        raise FormatError(f"name {text[:40]!r}... has {len(data)} bytes, the format allows {_MAX_STRING}")
    return struct.pack("<H", len(data)) + data


class Reader:
    """A position in a section; every read is checked against the section's end."""

    def __init__(self, data: memoryview, section: str) -> None:
        self._data = data
        self._section = section
        self._position = 0

    def take(self, size: int) -> memoryview:
        """The next `size` bytes."""
        if size > len(self._data) - self._position:
            raise self.error("is truncated")
        self._position += size
        return self._data[self._position - size : self._position]

    def field(self, code: str) -> int:
        """One integer: a struct format character."""
        value: int = struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]
        return value

    def float32(self) -> float:
        """One `f32`, widened."""
        value: float = struct.unpack("<f", self.take(4))[0]
        return value

    def string(self) -> str:
        """One `str`."""
        size = self.field("H")
        if size > _MAX_STRING:
            raise self.error(f"has a name of {size} bytes, the format allows {_MAX_STRING}")
        try:
            return bytes(self.take(size)).decode("utf-8")
        except UnicodeDecodeError:
            raise self.error("has a name that is not UTF-8") from None

    def count(self, code: str, limit: int, item_bytes: int, what: str) -> int:
        """A number of items, at most `limit`, that the rest of the section can hold at `item_bytes` each or more."""
        value = self.field(code)
        if value > limit or value * item_bytes > len(self._data) - self._position:
            raise self.error(f"declares {value} {what}, more than it can hold")
        return value

    def finish(self) -> None:
        """Everything must have been read."""
        if self._position != len(self._data):
            raise self.error(f"has {len(self._data) - self._position} bytes behind its end")

    def error(self, text: str) -> FormatError:
        """An error that names the section and the position."""
        return FormatError(f"section {self._section!r} {text} (byte {self._position})")
