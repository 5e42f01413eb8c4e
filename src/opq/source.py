"""Where an `.opq` file may lie: a path, bytes, a memory mapping or an open file, alone or inside a larger blob."""

from __future__ import annotations

import io
import mmap
import operator
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from opq import _core
from opq.errors import FormatError, UnsupportedError
from opq.reference.container import HEADER_BYTES, MAGIC

_CHUNK = 1 << 20


class BinaryReader(Protocol):
    """An open binary file, or anything whose `read(n)` gives at most n bytes, and none at the end."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size`."""
        ...


Buffer: TypeAlias = "bytes | bytearray | memoryview | mmap.mmap | npt.NDArray[np.uint8]"
FileSource: TypeAlias = "str | os.PathLike[str] | Buffer | BinaryReader"


def read_source(source: FileSource, offset: int | None = None) -> bytes | memoryview:
    """The bytes of the `.opq` file in `source`, not yet checked; see `opq.load` for the sources and for `offset`.

    A read-only buffer is not copied: the result is a view of it. A writable one is, since it could change after the checks.
    A path is read, not mapped: the core needs the bytes only while it loads, and a mapped file that another process cuts off
    in that time would kill this one.
    """
    start = None if offset is None else _checked_offset(offset)
    if isinstance(source, bytes) and start is None:
        return source
    if isinstance(source, (str, os.PathLike)):
        return _from_path(source, start)
    try:
        view = memoryview(source)  # type: ignore[arg-type]
    except TypeError:
        if isinstance(source, io.TextIOBase) or not callable(getattr(source, "read", None)):
            kind = type(source).__name__
            raise TypeError(f"{kind} is no source of an .opq file: expected a path, bytes or an open binary file") from None
        return _from_stream(source, start or 0, alone=False)  # type: ignore[arg-type]
    return _from_buffer(view, start)


@contextmanager
def errors_named(source: object, offset: int | None = None) -> Iterator[None]:
    """Puts the source's name, where it has one, and the offset before the text of a FormatError or UnsupportedError."""
    try:
        yield
    except (FormatError, UnsupportedError) as error:
        name = os.fsdecode(source) if isinstance(source, (str, os.PathLike)) else getattr(source, "name", None)
        place = [name] if isinstance(name, str) else []
        if offset is not None:
            place.append(f"at byte {operator.index(offset)}")
        raise type(error)(": ".join([" ".join(place), str(error)]) if place else str(error)) from None


def _checked_offset(offset: int) -> int:
    try:
        start = operator.index(offset)
    except TypeError:
        start = -1
    if isinstance(offset, bool) or not 0 <= start < 1 << 63:
        raise ValueError(f"offset {offset!r} is not a position: expected an integer from 0 to 2^63 - 1")
    return start


def _from_buffer(view: memoryview, offset: int | None) -> bytes | memoryview:
    if view.itemsize != 1 or not view.c_contiguous:
        raise TypeError("the buffer is no source of an .opq file: expected single bytes without gaps")
    view = view.cast("B") if view.nbytes else memoryview(b"")
    if offset is not None:
        length = _declared_length(view[offset : offset + HEADER_BYTES])
        view = view[offset : offset + max(length, HEADER_BYTES)]
    return view if view.readonly else bytes(view)


def _from_path(path: str | os.PathLike[str], offset: int | None) -> bytes:
    with open(path, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if offset and stat.S_ISREG(status.st_mode):
            file.seek(min(offset, status.st_size))
            return _from_stream(file, 0, alone=False)
        return _from_stream(file, offset or 0, alone=offset is None)


def _from_stream(stream: BinaryReader, skip: int, *, alone: bool) -> bytes:
    """The file `skip` bytes ahead. Reads nothing behind its end, but one byte to see that there is none, if it lies `alone`."""
    for _ in _chunks(stream, skip):
        pass
    header = b"".join(_chunks(stream, HEADER_BYTES))
    length = _declared_length(header)
    data = b"".join([header, *_chunks(stream, length - HEADER_BYTES)])
    if alone and len(data) == length and any(_chunks(stream, 1)):
        raise FormatError(f"bytes follow the end of the file, {length}: give an offset to read it out of a larger one")
    return data


def _chunks(stream: BinaryReader, size: int) -> Iterator[bytes]:
    """The next `size` bytes, fewer at the end, in pieces, so that a false length makes nobody allocate it."""
    while size > 0:
        wanted = min(size, _CHUNK)
        chunk = stream.read(wanted)
        if not isinstance(chunk, (bytes, bytearray)):
            raise TypeError(f"the source's read() gave {type(chunk).__name__}, expected bytes: open it in binary mode")
        if len(chunk) > wanted:
            raise ValueError(f"the source's read({wanted}) gave {len(chunk)} bytes")
        if not chunk:
            return
        size -= len(chunk)
        yield bytes(chunk)


def _declared_length(header: bytes | memoryview) -> int:
    """Length of the file, byte 16 of a whole header (docs/format.md). 0 for anything else: the reader says what is wrong."""
    if len(header) < HEADER_BYTES or header[:8] != MAGIC:
        return 0
    if _core.crc32c(header[:28]) != int.from_bytes(header[28:32], "little"):
        return 0
    return int.from_bytes(header[16:24], "little")
