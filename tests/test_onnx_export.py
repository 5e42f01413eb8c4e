"""Exported models are valid, load again, and compute the same in ONNX Runtime as what was imported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import make_model, normal, operators, run_reference, run_runtime
from test_onnx_operators import OPERATORS

from benchmarks.networks_of_the_paper import build
from opq.errors import UnsupportedError
from opq.graph import Graph, Node, ValueInfo
from opq.onnx_export import export_onnx
from opq.onnx_export.writer import to_onnx
from opq.onnx_import import load_onnx


@pytest.mark.parametrize("op", OPERATORS)
@given(data=st.data())
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_operator_survives(op: str, data: st.DataObject) -> None:
    case = OPERATORS[op](data, 19)
    inputs = {name: array.shape for name, array in case.feeds.items()}
    model = make_model(case.nodes, inputs, {"y": None}, case.constants, 19)
    imported = load_onnx(model)
    exported = to_onnx(imported.graph, imported.tensors)
    onnx.checker.check_model(exported, full_check=True)
    for got, want in zip(run_runtime(exported, case.feeds), run_runtime(model, case.feeds), strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    again = load_onnx(exported)
    for got, want in zip(run_reference(again, case.feeds), run_reference(imported, case.feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_network_with_batch_normalization(tmp_path: Path) -> None:
    model = build("mobilenet-v1", batch="N")
    imported = load_onnx(model)
    path = tmp_path / "small.onnx"
    export_onnx(imported.graph, imported.tensors, path)
    onnx.checker.check_model(str(path), full_check=True)
    exported = onnx.load(path)
    assert exported.opset_import[0].version == 17
    assert exported.ir_version == 8
    assert {node.op_type for node in exported.graph.node} == {"Conv", "Clip", "ReduceMean", "Flatten", "Gemm"}
    x = {"input": normal((2, 3, 224, 224))}
    [got], [want] = run_runtime(exported, x), run_runtime(model, x)
    # 28 layers, each adding rounding errors of a few 2^-24 relative to its largest output.
    np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max())
    assert [entry.name for entry in tmp_path.iterdir()] == ["small.onnx"]


def test_linear_of_more_than_two_axes_becomes_matmul_and_add() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "b"], ["y"])]
    constants = {"w": normal((4, 5)), "b": normal((5,))}
    model = make_model(nodes, {"x": (2, 3, 4)}, {"y": None}, constants)
    imported = load_onnx(model)
    assert operators(imported) == ["Linear"]
    exported = to_onnx(imported.graph, imported.tensors)
    assert [node.op_type for node in exported.graph.node] == ["MatMul", "Add"]
    feeds = {"x": normal((2, 3, 4), seed=1)}
    np.testing.assert_allclose(run_runtime(exported, feeds)[0], run_runtime(model, feeds)[0], rtol=1e-5, atol=1e-5)


def test_weight_shared_by_layers_with_and_without_scale() -> None:
    nodes = (
        Node("Linear", "a", ("x", "w", "s"), ("h",)),
        Node("Linear", "b", ("h", "w"), ("i",)),
        Node("Linear", "c", ("i", "w", "s", "s"), ("y",)),
    )
    graph = Graph((ValueInfo("x", "float32", ("N", 4)),), (ValueInfo("y", "float32", ("N", 4)),), nodes)
    tensors = {"w": normal((4, 4)), "s": normal((4,), seed=1)}
    exported = to_onnx(graph, tensors)
    x = normal((3, 4), seed=2)
    w, s = tensors["w"], tensors["s"]
    want = (((x @ w.T) * s) @ w.T @ w.T) * s + s
    np.testing.assert_allclose(run_runtime(exported, {"x": x})[0], want, rtol=1e-4, atol=1e-5)
    assert len(exported.graph.initializer) == 3


def test_dilated_average_pooling_needs_opset_19() -> None:
    attributes = {
        "kernel_shape": (2, 2), "strides": (1, 1), "dilations": (2, 2), "pads": (0, 0, 0, 0), "auto_pad": "NOTSET",
        "ceil_mode": 0, "count_include_pad": 0,
    }  # fmt: skip
    node = Node("AveragePool", "pool", ("x",), ("y",), attributes)
    graph = Graph((ValueInfo("x", "float32", (1, 1, 4, 4)),), (ValueInfo("y", "float32", (1, 1, 2, 2)),), (node,))
    exported = to_onnx(graph, {})
    assert exported.opset_import[0].version == 19
    x = normal((1, 1, 4, 4))
    want = (x[..., :2, :2] + x[..., 2:, :2] + x[..., :2, 2:] + x[..., 2:, 2:]) / 4
    np.testing.assert_allclose(run_runtime(exported, {"x": x})[0], want, rtol=1e-6, atol=1e-6)


def test_tensors_beyond_two_gibibytes_are_refused() -> None:
    graph = Graph((), (), ())
    tensors = {"w": np.broadcast_to(np.float32(0), (2**10, 2**20))}
    with pytest.raises(UnsupportedError, match="2 GiB"):
        to_onnx(graph, tensors)


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "net.onnx"
    with pytest.raises(OSError):
        export_onnx(Graph((), (), ()), {}, path)
