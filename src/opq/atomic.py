"""Writing files so that they appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

_KEPT_OF_NAME = 64  # bytes; with the rest, a temporary name is not longer than any file system allows


def write_atomically(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Write `data` to a temporary name in the same folder, flush it to the disk, rename it to `path`.

    Through symbolic links, which stay. A device or pipe is written to, never replaced. A file that is replaced keeps its
    permissions.

    Raises OSError naming `path`; then nothing is left behind and an older file is as it was. A process that is killed in the
    middle leaves at most the temporary file, `.<start of the name>.<16 hex digits>.part`, which nothing reads.
    """
    try:
        mode = _mode(path)
        if mode is not None and stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if mode is not None and not stat.S_ISREG(mode):
            Path(path).write_bytes(data)
        else:
            _replace(Path(os.path.realpath(path)), data, None if mode is None else mode & 0o777)
    except OSError as error:
        # It may name the temporary file, or none at all.
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def _mode(path: str | os.PathLike[str]) -> int | None:
    """Type and permissions of a file, None if there is none."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _replace(target: Path, data: bytes | memoryview, permissions: int | None) -> None:
    start = os.fsencode(target.name)[:_KEPT_OF_NAME].decode("utf-8", "ignore")
    temporary = target.parent / f".{start}.{secrets.token_hex(8)}.part"

    def create(name: str, flags: int) -> int:
        return os.open(name, flags, 0o666 if permissions is None else permissions)  # less the umask

    try:
        with open(temporary, "xb", opener=create) as file:
            if permissions is not None:
                os.chmod(temporary, permissions)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _flush_folder(target.parent)


def _flush_folder(folder: Path) -> None:
    """Makes a rename last through a loss of power. Not every system opens or flushes folders; the file is whole anyway."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
