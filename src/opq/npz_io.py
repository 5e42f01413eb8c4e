"""NumPy's .npz: named arrays in a zip file."""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from opq.atomic import write_atomically
from opq.errors import FormatError

_MAX_HEADER = 10_000  # NumPy's own limit on the text that describes an array


def load_npz(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """All arrays of the file. Pickled objects are refused, as loading them would run code.

    Raises FormatError, naming the file and the array, where something is damaged; OSError if the file cannot be opened.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    member = ""
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                for member in archive.namelist():
                    arrays[member.removesuffix(".npy")] = _read_array(archive, member)
        # RuntimeError: encrypted, or a compression that this Python lacks; OSError: offsets outside the file.
        except (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            where = f"array {member.removesuffix('.npy')!r}: " if member else ""
            reason = " ".join(str(error).split()) or type(error).__name__
            raise FormatError(f"{os.fspath(path)}: {where}{reason}") from error
    return arrays


def _read_array(archive: zipfile.ZipFile, member: str) -> npt.NDArray[Any]:
    """One .npy file. Its sizes are checked against the length of the member before anything is allocated."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version} of the array format")
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read_header(stream, max_header_size=_MAX_HEADER)
        if dtype.hasobject:
            raise ValueError("holds Python objects, which are not loaded")
        size = math.prod(shape) * dtype.itemsize
        if any(n < 0 for n in shape) or size != archive.getinfo(member).file_size - stream.tell():
            raise ValueError("has another length than its shape")
        data = stream.read()
    if len(data) != size:
        raise ValueError("is cut off")
    array = np.frombuffer(bytearray(data), dtype=dtype)
    return array.reshape(shape[::-1]).T if fortran_order else array.reshape(shape)


def save_npz(path: str | os.PathLike[str], tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes the arrays uncompressed; the file appears whole or not at all."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in tensors.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)
    write_atomically(path, buffer.getvalue())
