"""Checking and running graphs in the reference."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from opq.errors import FormatError
from opq.graph import Attribute, Graph, Node, ValueInfo
from opq.quantization import QuantizedTensor
from opq.reference.execution import check, run
from opq.reference.tensor_section import Tensor

CONV: dict[str, Attribute] = {
    "strides": (1, 1),
    "dilations": (1, 1),
    "pads": (1, 1, 1, 1),
    "auto_pad": "NOTSET",
    "group": 1,
}
POOL: dict[str, Attribute] = {
    "kernel_shape": (2, 2),
    "strides": (2, 2),
    "dilations": (1, 1),
    "pads": (0, 0, 0, 0),
    "auto_pad": "NOTSET",
    "ceil_mode": 0,
}
NODES = (
    Node("Conv", "conv", ("x", "w", "", "b"), ("c",), CONV),
    Node("Relu", "relu", ("c",), ("r",)),
    Node("MaxPool", "pool", ("r",), ("p",), POOL),
    Node("Add", "residual", ("p", "p"), ("a",)),
    Node("ReduceMean", "mean", ("a",), ("m",), {"axes": (2, 3), "keepdims": 0}),
    Node("Linear", "fc", ("m", "v"), ("y",)),
)
GRAPH = Graph((ValueInfo("x", "float32", ("N", 2, 4, None)),), (ValueInfo("y", "float32", ("N", 5)),), NODES)


def quantized(*shape: int, axis: int | None = 0) -> QuantizedTensor:
    codes = np.random.default_rng(len(shape)).integers(-7, 8, shape).astype(np.int8)
    scale = None if axis is None else np.linspace(0.5, 2, shape[axis]).astype(np.float32)
    return QuantizedTensor(codes, 0.125, 7, scale, axis)


TENSORS: dict[str, Tensor] = {
    "w": quantized(3, 2, 3, 3),
    "b": np.array([0.5, -0.5, 0.25], np.float32),
    "v": quantized(5, 3, axis=None),
    "unused": np.zeros((2, 0), np.int64),
}


def image(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_a_small_network() -> None:
    check(GRAPH, TENSORS)
    x = image(2, 2, 4, 6)
    [y] = run(GRAPH, TENSORS, {"x": x})
    assert y.shape == (2, 5)
    assert y.dtype == np.float32
    # The same from dense weights, in float64 throughout: the rounding at each node is all that differs.
    dense = {name: t if isinstance(t, np.ndarray) else t.dequantize() for name, t in TENSORS.items()}
    padded = np.pad(x.astype(float), [(0, 0), (0, 0), (1, 1), (1, 1)])
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    c = np.maximum(np.einsum("nchwij,mcij->nmhw", patches, dense["w"]) + dense["b"][:, None, None], 0)
    pooled = c.reshape(2, 3, 2, 2, 3, 2).max(axis=(3, 5))
    np.testing.assert_allclose(y, 2 * pooled.mean(axis=(2, 3)) @ dense["v"].T, rtol=1e-5)


def test_any_value_can_be_an_output_and_float_values_are_rounded() -> None:
    x = image(1, 2, 4, 4)
    names = ["y", "c", "x", "b", "c", "w"]
    y, c, same, bias, again, weight = run(GRAPH, TENSORS, {"x": x}, names)
    assert {value.dtype.name for value in (y, c, same, bias, again, weight)} == {"float32"}
    np.testing.assert_array_equal(c, again)
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(weight, quantized(3, 2, 3, 3).dequantize())
    bias[:] = same[:] = 0  # copies
    assert x.any()
    assert np.asarray(TENSORS["b"]).any()
    assert run(GRAPH, TENSORS, {"x": x}, []) == []


def test_results_beyond_float32_are_infinite() -> None:
    graph = Graph(
        (ValueInfo("x", "float32", (1,)),), (ValueInfo("y", "float32", (1,)),), (Node("Mul", "", ("x", "x"), ("y",)),)
    )
    assert run(graph, {}, {"x": np.array([1e30], np.float32)})[0].tolist() == [math.inf]


def test_an_empty_batch() -> None:
    assert run(GRAPH, TENSORS, {"x": image(0, 2, 4, 4)})[0].shape == (0, 5)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "input 'x' is missing"),
        ({"x": image(1, 2, 4, 4), "z": image(1)}, "there is no input 'z'"),
        ({"x": image(1, 2, 4, 4).astype(np.float64)}, "input 'x' is float64, must be float32"),
        ({"x": image(1, 2, 5, 4)}, r"input 'x' has shape \(1, 2, 5, 4\), must be"),
        ({"x": image(1, 2, 4)}, r"input 'x' has shape \(1, 2, 4\), must be"),
        ({"x": image(1, 2, 4, 1)}, r"node 'pool' \(MaxPool\): "),
    ],
)
def test_inputs_that_do_not_fit(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(GRAPH, TENSORS, inputs)


def test_an_unknown_output() -> None:
    with pytest.raises(ValueError, match="there is no value 'nothing'"):
        run(GRAPH, TENSORS, {"x": image(1, 2, 4, 4)}, ["nothing"])


def changed(index: int, **changes: Any) -> Graph:
    """GRAPH with one node's fields replaced; `attributes` are merged."""
    nodes = list(NODES)
    if "attributes" in changes:
        changes["attributes"] = {**nodes[index].attributes, **changes["attributes"]}
    nodes[index] = dataclasses.replace(nodes[index], **changes)
    return dataclasses.replace(GRAPH, nodes=tuple(nodes))


REFUSED = {
    "unknown operator": changed(1, op="Einsum"),
    "input made later": dataclasses.replace(GRAPH, nodes=(NODES[1], NODES[0], *NODES[2:])),
    "value made twice": changed(1, outputs=("c",)),
    "output that is a tensor": changed(1, outputs=("b",)),
    "no output": changed(1, outputs=()),
    "two outputs": changed(1, outputs=("r", "s")),
    "nameless output": changed(1, outputs=("",)),
    "absent needed input": changed(1, inputs=("",)),
    "too many inputs": changed(1, inputs=("c", "c")),
    "too few inputs": changed(0, inputs=("x",)),
    "missing attribute": changed(1, op="LeakyRelu"),
    "unknown attribute": changed(1, attributes={"alpha": 1.0}),
    "integer for a float": changed(1, op="LeakyRelu", attributes={"alpha": 1}),
    "NaN": changed(1, op="LeakyRelu", attributes={"alpha": math.nan}),
    "bool for an integer": changed(0, attributes={"group": True}),
    "stride 0": changed(0, attributes={"strides": (1, 0)}),
    "negative pad": changed(0, attributes={"pads": (0, 0, 0, -1)}),
    "three strides": changed(0, attributes={"strides": (1, 1, 1)}),
    "unknown auto_pad": changed(0, attributes={"auto_pad": "VALID"}),
    "indivisible groups": changed(0, attributes={"group": 2}),
    "huge dilation": changed(0, attributes={"dilations": (1, 2**31)}),
    "three spatial axes": changed(2, attributes={"kernel_shape": (2, 2, 2)}),
    "ceil_mode 2": changed(2, attributes={"ceil_mode": 2}),
    "weight made at run time": changed(5, inputs=("m", "m")),
    "bias of another length": changed(5, inputs=("m", "v", "", "b")),
    "weight of another rank": changed(0, inputs=("x", "v")),
    "quantized operand": changed(3, inputs=("p", "w")),
    "operands of two types": changed(3, inputs=("p", "unused")),
    "axis out of range": changed(4, attributes={"axes": (4,)}),
    "axis twice": changed(4, attributes={"axes": (3, -1)}),
    "output never made": dataclasses.replace(GRAPH, outputs=(ValueInfo("z", "float32", ()),)),
    "quantized output": dataclasses.replace(GRAPH, outputs=(ValueInfo("w", "float32", (3, 2, 3, 3)),)),
    "output of another type": dataclasses.replace(GRAPH, outputs=(ValueInfo("y", "int32", ("N", 5)),)),
    "output of another rank": dataclasses.replace(GRAPH, outputs=(ValueInfo("y", "float32", ("N",)),)),
    "input that is a tensor": dataclasses.replace(GRAPH, inputs=(ValueInfo("b", "float32", (3,)),)),
    "nameless input": dataclasses.replace(GRAPH, inputs=(ValueInfo("", "float32", (3,)),)),
    "input of unknown type": dataclasses.replace(GRAPH, inputs=(ValueInfo("x", "float16", (3,)),)),
    "negative size": dataclasses.replace(GRAPH, inputs=(ValueInfo("x", "float32", (-2, 2, 4, 4)),)),
}


@pytest.mark.parametrize("graph", REFUSED.values(), ids=REFUSED.keys())
def test_check_refuses(graph: Graph) -> None:
    with pytest.raises(FormatError, match=r"^(node|output|input) [^\n]+$"):
        check(graph, TENSORS)


@pytest.mark.parametrize("axis", [1, 3])
def test_a_weight_is_quantized_along_its_output_channels_only(axis: int) -> None:
    with pytest.raises(FormatError, match="channel axis"):
        check(GRAPH, {**TENSORS, "w": quantized(3, 2, 3, 3, axis=axis)})


def single(op: str, *ranks: int, out: int, **attributes: Attribute) -> Graph:
    """One node whose inputs have these ranks, declared to make rank `out`."""
    names = tuple(f"x{i}" for i in range(len(ranks)))
    inputs = tuple(ValueInfo(name, "float32", (None,) * rank) for name, rank in zip(names, ranks, strict=True))
    return Graph(inputs, (ValueInfo("y", "float32", (None,) * out),), (Node(op, "", names, ("y",), attributes),))


RANKS = [
    single("MatMul", 1, 1, out=0),
    single("MatMul", 1, 4, out=3),
    single("MatMul", 3, 1, out=2),
    single("MatMul", 2, 5, out=5),
    single("Add", 0, 3, out=3),
    single("ReduceMean", 4, out=2, axes=(1, -1), keepdims=0),
    single("Softmax", 2, out=2, axis=-2),
    single("Pad", 1, out=1, pads=(1, 1), mode="edge", value=0.0),
    single("Concat", 2, 2, 2, out=2, axis=1),
    single("Flatten", 0, out=2, axis=0),
    single("Reshape", 5, out=1, shape=(-1,), allowzero=0),
    single("Squeeze", 4, out=3, axes=(0,)),
    single("Squeeze", 4, out=7, axes=()),  # known only with the sizes
    single("Unsqueeze", 2, out=4, axes=(0, -1)),
    single("Transpose", 3, out=3, perm=(2, 0, 1)),
]


@pytest.mark.parametrize("graph", RANKS, ids=lambda graph: graph.nodes[0].op)
def test_ranks(graph: Graph) -> None:
    check(graph, {})
    if graph.nodes[0].attributes.get("axes") != ():
        wrong = ValueInfo("y", "float32", (None,) * (len(graph.outputs[0].shape) + 1))
        with pytest.raises(FormatError):
            check(dataclasses.replace(graph, outputs=(wrong,)), {})


RANK_ERRORS = [
    single("MatMul", 0, 2, out=1),
    single("LRN", 1, out=1, size=3, alpha=1.0, beta=1.0, bias=1.0),
    single("Softmax", 0, out=0, axis=0),
    single("Concat", 2, 3, out=2, axis=0),
    single("Pad", 2, out=2, pads=(1, 1), mode="edge", value=0.0),
    single("Pad", 1, out=1, pads=(1, -1), mode="wrap", value=0.0),
    single("Reshape", 1, out=2, shape=(1, 0), allowzero=0),
    single("Reshape", 1, out=2, shape=(-1, 0), allowzero=1),
    single("Unsqueeze", 8, out=8, axes=(0,)),
    single("Transpose", 3, out=2, perm=(1, 0)),
    single("Transpose", 2, out=2, perm=(1, 1)),
]


@pytest.mark.parametrize("graph", RANK_ERRORS, ids=lambda graph: graph.nodes[0].op)
def test_ranks_that_do_not_fit(graph: Graph) -> None:
    with pytest.raises(FormatError, match=r"^node 'y' \("):
        check(graph, {})
