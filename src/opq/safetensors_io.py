"""The safetensors format: a JSON header with names, types, shapes and offsets, then the arrays without gaps.

    u64 length of the header | header, a JSON object padded with spaces | bytes of the arrays
    header: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ..., "__metadata__": {...}}

All little-endian, arrays in C order, offsets from the end of the header. As in the format's own reader, a header is
at most 100 MB and the arrays cover the rest of the file exactly, so that nothing can hide in a file.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from opq.atomic import write_atomically
from opq.errors import FormatError

Array = npt.NDArray[Any]

_MAX_HEADER = 100_000_000
_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"),
    "U8": np.dtype("u1"), "BOOL": np.dtype("?"),
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items() if name != "BF16"}


def load_safetensors(path: str | os.PathLike[str]) -> dict[str, Array]:
    """All tensors of the file; bfloat16 becomes float32, which holds every bfloat16 exactly.

    Raises FormatError, naming the file and the tensor, where something is damaged; OSError if it cannot be opened.
    """
    data = Path(path).read_bytes()
    try:
        return _parse(memoryview(data))
    except ValueError as error:
        raise FormatError(f"{os.fspath(path)}: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise FormatError(f"{os.fspath(path)}: header is nested too deeply") from error


def save_safetensors(path: str | os.PathLike[str], tensors: Mapping[str, Array]) -> None:
    """Writes the tensors in the order of the mapping; the file appears whole or not at all.

    Raises ValueError, naming the tensor, for an element type that the format or this reader does not have.
    """
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    end = 0
    for name, tensor in tensors.items():
        dtype = tensor.dtype.newbyteorder("<")
        if dtype not in _NAMES or name == "__metadata__":
            raise ValueError(f"tensor {name!r} of type {tensor.dtype} cannot be stored as safetensors")
        parts.append(tensor.astype(dtype, copy=False).tobytes(order="C"))
        begin, end = end, end + len(parts[-1])
        header[name] = {"dtype": _NAMES[dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER:
        raise ValueError(f"header of {len(text)} bytes, at most {_MAX_HEADER} are allowed")
    write_atomically(path, b"".join([len(text).to_bytes(8, "little"), text, *parts]))


def _parse(data: memoryview) -> dict[str, Array]:
    if len(data) < 8:
        raise ValueError("too short for a safetensors file")
    length = int.from_bytes(data[:8], "little")
    if length > min(_MAX_HEADER, len(data) - 8):
        raise ValueError(f"header of {length} bytes does not fit, or not a safetensors file")
    header = json.loads(bytes(data[8 : 8 + length]).decode("utf-8"), object_pairs_hook=_without_duplicates)
    if not isinstance(header, dict):
        raise ValueError("header is not a JSON object")
    header.pop("__metadata__", None)
    body = data[8 + length :]
    tensors = {name: _tensor(name, entry, body) for name, entry in header.items()}

    end = 0
    for begin, next_end, name in sorted((*entry["data_offsets"], name) for name, entry in header.items()):
        if begin != end:
            raise ValueError(f"tensor {name!r} starts at {begin} instead of {end}")
        end = next_end
    if end != len(body):
        raise ValueError(f"{len(body) - end} bytes behind the last tensor")
    return tensors


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice in the header")
    return result


def _tensor(name: str, entry: Any, body: memoryview) -> Array:
    """Copies one tensor out of `body`, after its entry of the header has been checked."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r}: its entry is not dtype, shape and data_offsets")
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise ValueError(f"tensor {name!r}: element type {entry['dtype']!r} is not known")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2 or len(shape) > 32:
        raise ValueError(f"tensor {name!r}: shape or data_offsets are not lists of sizes")
    begin, end = offsets
    # Python's integers do not overflow, so the product is what it seems.
    if not begin <= end <= len(body) or math.prod(shape) * dtype.itemsize != end - begin:
        raise ValueError(f"tensor {name!r}: shape {shape} does not fit its {end - begin} bytes, or they are missing")
    array: Array = np.frombuffer(body[begin:end], dtype=dtype).reshape(shape)
    if entry["dtype"] == "BF16":
        array = (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if entry["dtype"] == "BOOL" and array.view(np.uint8).max(initial=0) > 1:
        raise ValueError(f"tensor {name!r}: a BOOL is neither 0 nor 1")
    result: Array = array.copy()
    return result


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**63 for size in value)
