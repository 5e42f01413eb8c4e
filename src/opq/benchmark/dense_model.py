"""The network of an .opq file as other engines take it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from opq.compressed import load
from opq.errors import UnsupportedError
from opq.onnx_export import export_onnx


def export_dense(source: str | os.PathLike[str], shapes: Mapping[str, tuple[int, ...]], target: str | os.PathLike[str]) -> None:
    """Writes a dense float32 ONNX model, its inputs fixed to these shapes, by name: some engines want that.

    Raises as `opq.load` and `opq.onnx_export.export_onnx` do.
    """
    model = load(source)
    if model.graph is None:
        raise UnsupportedError("the file holds tensors without a graph: there is nothing to run")
    fixed = tuple(replace(info, shape=shapes[info.name]) for info in model.graph.inputs)
    export_onnx(replace(model.graph, inputs=fixed), model.dense_tensors(), target)
