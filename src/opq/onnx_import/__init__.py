"""ONNX models, opset 9 to 21, to `opq.Model`.

* reading: file -> nodes and constants, checked
* folding: constant subgraphs evaluated by the `onnx` package, shapes inferred, dead code removed
* lowering: each ONNX operator -> operators of docs/format.md (layers, elementwise, windows, movement)
* absorption: BatchNorm and per-channel constants -> scale and bias of the layer before
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opq.model import Model

if TYPE_CHECKING:
    import onnx

    OnnxSource = str | os.PathLike[str] | bytes | onnx.ModelProto


def load_onnx(source: OnnxSource) -> Model:
    """Reads an ONNX model from a path, from bytes, or from a ModelProto (which is left as it is).

    Raises:
        FormatError: the file is damaged.
        UnsupportedError: another opset, or operators that opq does not have; all of them are listed at once.
        ImportError: the `onnx` package is missing.
        OSError: the file cannot be opened.
    """
    try:
        from opq.onnx_import.lowering import import_model
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ImportError("reading ONNX models needs the onnx package: pip install 'opq[onnx]'") from error
    return import_model(source)
