"""ONNX Runtime, CPU provider."""

from __future__ import annotations

import onnxruntime

from opq.benchmark.engines import Inputs
from opq.benchmark.timing import Engine, Run


def engine(model: str, inputs: Inputs, threads: int) -> Engine:
    """As `opq.benchmark.engines.MakeEngine` says."""

    def load() -> Run:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, dict(inputs))

    return Engine(f"onnxruntime {onnxruntime.__version__} dense float32", load)
