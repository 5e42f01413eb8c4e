"""Small ONNX models for tests, and ONNX Runtime to run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import NodeProto, helper, numpy_helper

from opq.model import Model
from opq.reference.execution import check, run

Array = npt.NDArray[Any]
Shape = Sequence[int | str | None]


def make_model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape | None],
    constants: Mapping[str, Array],
    opset: int = 17,
    input_types: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A checked model with float inputs and outputs, unless `input_types` (TensorProto.DataType) says otherwise."""
    types = input_types or {}
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(k, types.get(k, onnx.TensorProto.FLOAT), s) for k, s in inputs.items()],
        [helper.make_tensor_value_info(k, types.get(k, onnx.TensorProto.FLOAT), s) for k, s in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run_runtime(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    """The outputs of ONNX Runtime, without its graph optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def run_reference(model: Model, feeds: Mapping[str, Array]) -> list[Array]:
    """The outputs of the reference, after its check of the graph."""
    check(model.graph, model.tensors)
    return run(model.graph, model.tensors, feeds)


def operators(model: Model) -> list[str]:
    return [node.op for node in model.graph.nodes]


def normal(shape: Sequence[int], seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(tuple(shape)).astype(np.float32)
