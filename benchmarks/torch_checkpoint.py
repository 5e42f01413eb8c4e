"""Reading a PyTorch checkpoint of before version 1.6 without PyTorch.

Such a file is five pickles, then the storages in the order of the last pickle:

    magic number, protocol version, sizes of C types, the state dict, the storages' keys
    for each key: int64 number of elements, then the elements, little-endian

A tensor of the state dict is a call of `_rebuild_tensor_v2(storage, offset, shape, stride, ...)`, a storage the persistent id
("storage", type, key, device, elements, view). The unpickler below makes those two and dicts, and refuses all else.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class _Tensor(NamedTuple):
    """Where a tensor lies: element `offset` of the storage `key`, strides in elements."""

    dtype: np.dtype[Any]
    key: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuild_tensor(storage: tuple[Any, ...], offset: int, shape: Any, stride: Any, *rest: object) -> _Tensor:
    return _Tensor(storage[1], storage[2], offset, tuple(shape), tuple(stride))


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"checkpoint names {module}.{name}, expected tensors of float32 and int64 only")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        return pid


def load_checkpoint(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a state dict, in its order. Raises pickle.UnpicklingError for a file that names anything else."""
    with path.open("rb") as file:
        *_, state, keys = (_Unpickler(file).load() for _ in range(5))
        dtypes = {tensor.key: tensor.dtype for tensor in state.values()}
        storages = {}
        for key in keys:
            size = int.from_bytes(file.read(8), "little") * dtypes[key].itemsize
            storages[key] = np.frombuffer(file.read(size), dtypes[key])
    return {name: _view(tensor, storages[tensor.key]) for name, tensor in state.items()}


def _view(tensor: _Tensor, storage: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Raises TypeError where the tensor does not lie inside its storage."""
    size = tensor.dtype.itemsize
    strides = [size * step for step in tensor.stride]
    view: npt.NDArray[Any] = np.ndarray(tensor.shape, tensor.dtype, storage, tensor.offset * size, strides)
    return view
