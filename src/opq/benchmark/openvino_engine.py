"""OpenVINO, CPU plugin: one stream, float32 even where the processor has bfloat16."""

from __future__ import annotations

import openvino

from opq.benchmark.engines import Inputs
from opq.benchmark.timing import Engine, Run


def engine(model: str, inputs: Inputs, threads: int) -> Engine:
    """As `opq.benchmark.engines.MakeEngine` says."""

    def load() -> Run:
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
        return lambda: request.infer(dict(inputs), share_inputs=True)

    return Engine(f"openvino {openvino.__version__.split('-')[0]} dense float32", load)
