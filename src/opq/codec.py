"""Integer arrays as few bytes, exactly: the coder of the `.opq` file for tensors of your own.

    >>> import numpy as np, opq
    >>> codes = np.zeros((64, 32, 3, 3), dtype=np.int8)
    >>> data = opq.codec.encode(codes)
    >>> np.array_equal(opq.codec.decode(data), codes)
    True

Made for weights: many zeros, values that cluster around 0, some rows and columns denser than others, k x k kernels. The array's
shape tells the coder where these are: output channels first, then input channels, then the kernel, as PyTorch and ONNX store
weights. Any other integers are coded as well, in no case in more than a few bytes beyond their own size.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from opq import _core
from opq.reference.crc32c import crc32c
from opq.reference.integers import TYPES, decode_integers, encode_integers, reference_decode, reference_encode
from opq.threads import checked_threads

Backend = Literal["core", "reference"]


def encode(codes: npt.ArrayLike, threads: int = 1, *, backend: Backend = "core") -> bytes:
    """The bytes of an integer array, shape and type included.

    codes    int8, int16, int32, uint8 or uint16, of at most 8 dimensions and 2^32 elements
    threads  1 to 1024; the bytes do not depend on them
    backend  "core" (compiled) or "reference" (NumPy, the definition): the bytes are the same

    Raises TypeError for another type, ValueError for another number of dimensions, elements, threads or another backend.
    """
    array = np.asarray(codes)
    dtype = array.dtype.newbyteorder("=")
    if dtype not in TYPES:
        raise TypeError(f"codes are {array.dtype}: expected one of {', '.join(map(str, TYPES))}")
    if array.ndim > 8 or array.size > 1 << 32:
        raise ValueError(f"codes have {array.ndim} dimensions and {array.size} elements: expected at most 8 and 2^32")
    count = _checked(threads, backend)
    array = array.astype(dtype, order="C", copy=False)
    if backend == "reference":
        return reference_encode(array, crc32c)
    return encode_integers(array, partial(_encode_codes, count), partial(_core.encode_integers, threads=count), _core.crc32c)


def decode(data: bytes | bytearray | memoryview, threads: int = 1, *, backend: Backend = "core") -> npt.NDArray[Any]:
    """The array that `encode` made the bytes of, in C order. Raises FormatError for any other bytes."""
    count = _checked(threads, backend)
    view = memoryview(data)
    if view.itemsize != 1 or not view.c_contiguous:
        raise TypeError("data is not a buffer of single bytes without gaps")
    view = view.cast("B") if view.nbytes else memoryview(b"")
    if backend == "reference":
        return reference_decode(view, crc32c)
    return decode_integers(view, _core.decode_codes, partial(_core.decode_integers, threads=count), _core.crc32c)


def _encode_codes(threads: int, codes: npt.NDArray[np.int8], levels: int, codec: str) -> bytes:
    return _core.encode_codes(codes, levels, codec, threads)


def _checked(threads: int, backend: str) -> int:
    if backend not in ("core", "reference"):
        raise ValueError(f'backend {backend!r} is unknown: expected "core" or "reference"')
    return checked_threads(threads)
