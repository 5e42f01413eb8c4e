"""The graph of docs/format.md with dense tensors -> a plain ONNX model that any other stack reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from opq.atomic import write_atomically
from opq.graph import Graph


def export_onnx(graph: Graph, tensors: Mapping[str, npt.NDArray[Any]], path: str | os.PathLike[str]) -> None:
    """Writes the model; the file appears whole or not at all.

    Scales and biases of Conv are folded into its weight and bias; Linear becomes Gemm, or MatMul and Add.
    tensors: dense arrays of float32, int32 or int64.

    Raises:
        UnsupportedError: the tensors are too large for one file.
        ImportError: the `onnx` package is missing.
        OSError: the file cannot be written.
    """
    try:
        from opq.onnx_export.writer import to_onnx
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ImportError("writing ONNX models needs the onnx package: pip install 'opq[onnx]'") from error
    write_atomically(path, to_onnx(graph, tensors).SerializeToString())
