"""`QuantizedTensor.matmul`: the sparse codebook product, straight from the compiled core."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opq import _core
from opq.quantization import Float32, QuantizedTensor
from opq.threads import checked_threads


def pack(tensor: QuantizedTensor, *, single_column: bool) -> _core.Matrix:
    """The tensor as a matrix [channels, everything else], packed for this machine's kernels."""
    axis = 0 if tensor.axis is None else tensor.axis
    codes = np.moveaxis(tensor.codes, axis, 0)
    codes = np.ascontiguousarray(codes.reshape(codes.shape[0], -1))
    scale = np.broadcast_to(tensor.channel_steps().reshape(-1), codes.shape[:1])
    return _core.Matrix(codes, np.ascontiguousarray(scale), single_column)


def matmul(tensor: QuantizedTensor, x: npt.ArrayLike, threads: int) -> Float32:
    """See `QuantizedTensor.matmul`."""
    values = np.asarray(x)
    channels = tensor.codes.shape[0 if tensor.axis is None else tensor.axis]
    depth = tensor.size // channels
    if values.dtype.kind not in "fiub" or values.ndim not in (1, 2) or values.shape[0] != depth:
        raise ValueError(f"matmul: x is {values.dtype} {values.shape}, expected float32 ({depth},) or ({depth}, n)")
    columns = np.ascontiguousarray(values.reshape(depth, -1), dtype=np.float32)
    if columns.shape[1] == 0:
        return np.zeros((channels, 0), dtype=np.float32)
    packed = tensor.packed_vector if columns.shape[1] == 1 else tensor.packed_matrix
    result = packed.matmul(columns, checked_threads(threads))
    return result if values.ndim == 2 else result[:, 0]
