"""TensorProto -> NumPy array, with the data inside the model or in a file beside it."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from opq.errors import FormatError

Array = npt.NDArray[Any]

_MAX_ELEMENTS = 2**36


def tensor_array(tensor: TensorProto, folder: Path | None) -> Array:
    """The array of `tensor` in its own element type. `folder` holds the external data; None: there can be none.

    Raises FormatError (without the model's name) where sizes do not fit.
    """
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape) or math.prod(shape) > _MAX_ELEMENTS:
        raise FormatError(f"tensor {tensor.name!r}: impossible shape {list(shape)}")
    try:
        if tensor.data_location == TensorProto.EXTERNAL:
            return _external_array(tensor, shape, folder)
        return np.asarray(onnx.numpy_helper.to_array(tensor))
    except FormatError:
        raise
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise FormatError(f"tensor {tensor.name!r}: {error}") from error


def _external_array(tensor: TensorProto, shape: tuple[int, ...], folder: Path | None) -> Array:
    what = f"tensor {tensor.name!r}"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise FormatError(f"{what}: its data is in another file, so the model must be given as a path")

    # Symbolic links are resolved first: the data may not come from outside the model's folder in any way.
    root = folder.resolve()
    path = (root / location).resolve()
    if not location or os.path.isabs(location) or not path.is_relative_to(root) or path == root:
        raise FormatError(f"{what}: external data {location!r} is not inside the model's folder")
    if not path.is_file():
        raise FormatError(f"{what}: its data file {location!r} is missing")

    offset = int(entries.get("offset", "0"))
    size = path.stat().st_size
    length = int(entries.get("length", str(size - offset)))
    if offset < 0 or length < 0 or offset + length > size:
        raise FormatError(f"{what}: its data lies beyond the end of {location!r}")
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(length)
    inside = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=shape, raw_data=data)
    return np.asarray(onnx.numpy_helper.to_array(inside))


def is_float(array: Array) -> bool:
    """Whether the array holds a float type that opq computes in float32 (bfloat16 included)."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def to_float32(array: Array) -> npt.NDArray[np.float32]:
    """float16, bfloat16 and float64 rounded to float32; float32 as it is."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(array, dtype=np.float32)


def to_float64(array: Array) -> npt.NDArray[np.float64]:
    """Any numbers as float64, for computations that are rounded to float32 once, at their end."""
    with np.errstate(invalid="ignore"):
        return np.asarray(array, dtype=np.float64)
