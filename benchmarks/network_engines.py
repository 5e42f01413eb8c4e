"""The rows of the tables of networks.py: opq in three precisions, and what else there is for the same network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from benchmarks import deepsparse_engine
from benchmarks.network_cases import PRECISIONS, Files
from opq.benchmark import Engine, opq_engine, peer
from opq.benchmark.engines import Inputs

DENSE = ("ONNX Runtime float32", "OpenVINO float32", "MNN float32")
INT8 = "ONNX Runtime int8"
SPARSE = ("MNN float32, sparse", "DeepSparse float32, sparse")
OTHER_PROCESS = SPARSE[1]


@dataclass(frozen=True)
class Setting:
    """Where the engines run. deepsparse: a Python interpreter that has it, or None."""

    threads: int
    deepsparse: str | None


LABELS = (*(f"opq {precision}" for precision in PRECISIONS), *DENSE, INT8, *SPARSE)


def engine(label: str, files: Files, setting: Setting) -> Engine:
    """A row. Raises ImportError, saying what to install, and ValueError for a network that it does not take."""
    with np.load(files.inputs) as archive:
        inputs: Inputs = {name: archive[name] for name in archive.files}
    makers: dict[str, Callable[[], Engine]] = {
        **{f"opq {p}": lambda p=p: opq_engine(files.opq, inputs, setting.threads, p) for p in PRECISIONS},
        DENSE[0]: lambda: peer("onnxruntime")(files.dense, inputs, setting.threads),
        DENSE[1]: lambda: peer("openvino")(files.dense, inputs, setting.threads),
        DENSE[2]: lambda: peer("mnn")(files.dense, inputs, setting.threads),
        INT8: lambda: peer("onnxruntime")(files.int8, inputs, setting.threads),
        SPARSE[0]: lambda: _sparse_mnn(files, inputs, setting),
        SPARSE[1]: lambda: deepsparse_engine.engine(setting.deepsparse, files.sparse, files.inputs, setting.threads),
    }
    return replace(makers[label](), name=label)


def _sparse_mnn(files: Files, inputs: Inputs, setting: Setting) -> Engine:
    peer("mnn")
    from opq.benchmark import mnn_engine

    return mnn_engine.engine(files.sparse, inputs, setting.threads, ("--detectSparseSpeedUp", "1"))
