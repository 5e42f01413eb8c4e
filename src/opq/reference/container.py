"""The outer structure of an `.opq` file: header, section table, sections (docs/format.md)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from opq.errors import FormatError
from opq.reference.crc32c import crc32c

MAGIC = b"\x89OPQ\r\n\x1a\n"
VERSION = (1, 0)
SECTIONS = {b"TENS": 0, b"DATA": 0, b"GRPH": 0, b"ACTV": 1, b"REPT": 1}  # kind -> flags
CHECKSUM_BYTES = 4  # of the header, of the section table, of every section
_OPTIONAL = 1
_MAX_SECTIONS = 64
_ALIGNMENT = 8

Checksum = Callable[[bytes | memoryview], int]

_HEADER = struct.Struct("<8sHHIQII")
_ENTRY = struct.Struct("<4sIQQII")
HEADER_BYTES = _HEADER.size


def write_container(sections: Mapping[bytes, bytes], checksum: Checksum = crc32c) -> bytes:
    """The file that holds these sections, in the mapping's order."""
    position = _HEADER.size + _ENTRY.size * len(sections)
    table, body = b"", []
    for kind, content in sections.items():
        body.append(b"\0" * (-position % _ALIGNMENT))
        position += -position % _ALIGNMENT
        table += _ENTRY.pack(kind, SECTIONS[kind], position, len(content), checksum(content), 0)
        body.append(content)
        position += len(content)
    header = _HEADER.pack(MAGIC, *VERSION, len(sections), position, checksum(table), 0)[:28]
    return b"".join([header, struct.pack("<I", checksum(header)), table, *body])


def read_container(data: bytes | memoryview, checksum: Checksum = crc32c) -> dict[bytes, memoryview]:
    """The known sections of a file, checked. Raises FormatError, saying what is wrong."""
    view = memoryview(data)
    if len(view) < _HEADER.size:
        raise FormatError(f"not an .opq file: {len(view)} bytes, the header alone has {_HEADER.size}")
    magic, major, minor, count, length, table_crc, header_crc = _HEADER.unpack_from(view)
    if magic != MAGIC:
        raise FormatError("not an .opq file: it does not start with the magic bytes")
    if checksum(view[:28]) != header_crc:
        raise FormatError("the header is damaged: its checksum does not match")
    if major != VERSION[0]:
        raise FormatError(f"format version {major}.{minor}: this reader knows version {VERSION[0]}, a newer opq is needed")
    if not 1 <= count <= _MAX_SECTIONS:
        raise FormatError(f"{count} sections, expected 1 to {_MAX_SECTIONS}")
    if length != len(view):
        raise FormatError(f"the file has {len(view)} bytes, its header says {length}")
    end = _HEADER.size + _ENTRY.size * count
    if end > length:
        raise FormatError("the section table is truncated")
    if checksum(view[_HEADER.size : end]) != table_crc:
        raise FormatError("the section table is damaged: its checksum does not match")
    sections: dict[bytes, memoryview] = {}
    seen = set()
    for i in range(count):
        kind, flags, offset, size, crc, zero = _ENTRY.unpack_from(view, _HEADER.size + _ENTRY.size * i)
        name = kind.decode("ascii", "backslashreplace")
        start = end + -end % _ALIGNMENT
        if offset != start or size > length - start or any(view[end:start]) or kind in seen or zero or flags > _OPTIONAL:
            raise FormatError(f"section {name!r} is misplaced, repeated, or has unknown flags")
        end = start + size
        if checksum(view[start:end]) != crc:
            raise FormatError(f"section {name!r} is damaged: its checksum does not match")
        seen.add(kind)
        if kind in SECTIONS:
            sections[kind] = view[start:end]
        elif not flags & _OPTIONAL:
            raise FormatError(f"section {name!r} is unknown to this version and needed: a newer opq is needed")
    if end != length:
        raise FormatError(f"{length - end} bytes behind the last section")
    for kind in (b"TENS", b"DATA"):
        if kind not in sections:
            raise FormatError(f"section {kind.decode()!r} is missing")
    return sections


def section_lengths(data: bytes | memoryview) -> dict[bytes, int]:
    """Lengths of all sections of a file that `read_container` accepts, of unknown ones too."""
    count = _HEADER.unpack_from(data)[3]
    entries = (_ENTRY.unpack_from(data, _HEADER.size + _ENTRY.size * i) for i in range(count))
    return {kind: size for kind, _, _, size, _, _ in entries}
