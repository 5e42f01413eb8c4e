"""What the importer makes of a network: absorbed constants, names, folded shapes, outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto, helper, version_converter
from onnx_models import Array, make_model, normal, operators, run_reference, run_runtime

from benchmarks.networks_of_the_paper import NETWORKS, build
from opq.errors import UnsupportedError
from opq.model import Model
from opq.onnx_import import load_onnx

OPSETS = (9, 11, 13, 15, 17, 18, 21)


def node(op: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    """`inputs` are separated by spaces."""
    return helper.make_node(op, inputs.split(" "), [output], **attributes)


def imported(
    nodes: Sequence[NodeProto],
    shape: Sequence[int | str | None] = (2, 3, 5, 5),
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    x: Array | None = None,
    **constants: Array,
) -> Model:
    """The network over the input x, after a comparison of its results with those of ONNX Runtime."""
    model = make_model(nodes, {"x": shape}, dict.fromkeys(outputs), constants, opset)
    result = load_onnx(model)
    feeds = {"x": normal([size if isinstance(size, int) else 2 for size in shape]) if x is None else x}
    for got, want in zip(run_reference(result, feeds), run_runtime(model, feeds), strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    return result


W = normal((4, 3, 3, 3), seed=1)
VECTORS = {name: normal((4,), seed) for seed, name in enumerate(("gamma", "beta", "mean"), start=2)}
VECTORS["variance"] = np.abs(normal((4,), seed=5)) + np.float32(0.1)


def test_batch_normalization_becomes_scale_and_bias() -> None:
    bias = normal((4,), seed=6)
    nodes = [node("Conv", "x w b", "h", name="conv"), node("BatchNormalization", "h gamma beta mean variance", "y")]
    model = imported(nodes, w=W, b=bias, **VECTORS)
    [conv] = model.graph.nodes
    assert (conv.op, conv.name, conv.outputs) == ("Conv", "conv", ("y",))
    assert conv.inputs == ("x", "w", "conv.scale", "conv.bias")
    np.testing.assert_array_equal(model.tensors["w"], W)
    gamma, beta, mean, variance = (VECTORS[name].astype(np.float64) for name in VECTORS)
    scale = gamma / np.sqrt(variance + np.float64(np.float32(1e-5)))
    np.testing.assert_array_equal(model.tensors["conv.scale"], scale.astype(np.float32))
    want = (bias.astype(np.float64) * scale + (beta - mean * scale)).astype(np.float32)
    np.testing.assert_array_equal(model.tensors["conv.bias"], want)
    assert model.dense_bytes == 4 * (4 * 3 * 3 * 3 + 4 + 4 * 4)


@pytest.mark.parametrize(
    ("op", "inputs"),
    [("Mul", "h c"), ("Mul", "c h"), ("Add", "h c"), ("Add", "c h"), ("Sub", "h c"), ("Sub", "c h"), ("Div", "h c")],
)
@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1), (1,), (), (1, 1, 1, 1)])
@pytest.mark.parametrize("biased", [False, True])
def test_constant_per_channel_is_absorbed(op: str, inputs: str, shape: tuple[int, ...], biased: bool) -> None:
    constants = {"w": W, "c": normal(shape, seed=7) + np.float32(3), **({"b": VECTORS["beta"]} if biased else {})}
    model = imported([node("Conv", "x w b" if biased else "x w", "h"), node(op, inputs, "y")], **constants)
    assert operators(model) == ["Conv"]
    np.testing.assert_array_equal(model.tensors["w"], W)


def test_chain_of_constants_is_absorbed_with_one_rounding() -> None:
    nodes = [
        node("Conv", "x w", "a", name="conv"),
        node("BatchNormalization", "a gamma beta mean variance", "b"),
        node("Mul", "b c", "d"),
        node("Identity", "d", "e"),
        node("Sub", "c e", "f"),
        node("Relu", "f", "y"),
    ]
    model = imported(nodes, w=W, c=normal((4, 1, 1), seed=8), **VECTORS)
    assert operators(model) == ["Conv", "Relu"]
    assert set(model.tensors) == {"w", "conv.scale", "conv.bias"}


@pytest.mark.parametrize(
    ("op", "inputs", "shape"),
    [
        ("Mul", "h c", (3,)),  # along the width
        ("Add", "h c", (1, 4, 3, 3)),  # along channels and positions
        ("Add", "h c", (2, 1, 1, 1)),  # along the batch
        ("Mul", "h c", (1, 1, 1, 1, 1)),  # adds an axis
        ("Div", "c h", (4, 1, 1)),  # the layer is the divisor
    ],
)
def test_other_constants_are_not_absorbed(op: str, inputs: str, shape: tuple[int, ...]) -> None:
    model = imported([node("Conv", "x w", "h"), node(op, inputs, "y")], w=W, c=normal(shape))
    assert operators(model) == ["Conv", op]


def test_constant_that_would_widen_one_channel_is_not_absorbed() -> None:
    model = imported([node("Conv", "x w", "h"), node("Mul", "h c", "y")], w=W[:1], c=normal((4, 1, 1)))
    assert operators(model) == ["Conv", "Mul"]


def test_layer_with_a_second_reader_is_left_alone() -> None:
    nodes = [node("Conv", "x w", "h"), node("Mul", "h c", "m"), node("Add", "h m", "y")]
    assert operators(imported(nodes, w=W, c=normal((4, 1, 1)))) == ["Conv", "Mul", "Add"]
    nodes = [node("Conv", "x w", "h"), node("Mul", "h c", "y")]
    assert operators(imported(nodes, outputs=("y", "h"), w=W, c=normal((4, 1, 1)))) == ["Conv", "Mul"]


def test_constant_that_is_not_finite_is_not_absorbed() -> None:
    constants = {"w": W, "c": np.array([0, np.inf, np.nan, 1], np.float32).reshape(4, 1, 1)}
    for op in ("Mul", "Div"):
        model = load_onnx(
            make_model([node("Conv", "x w", "h"), node(op, "h c", "y")], {"x": (1, 3, 5, 5)}, {"y": None}, constants)
        )
        assert operators(model) == ["Conv", op]


def test_batch_normalization_without_a_layer_before() -> None:
    model = imported([node("BatchNormalization", "x gamma beta mean variance", "y", name="bn")], (2, 4, 3), **VECTORS)
    assert operators(model) == ["Mul", "Add"]
    assert model.tensors["bn.scale"].shape == (4, 1)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), ("N", "T", 4)])
def test_matmul_and_add_become_linear(shape: tuple[int | str, ...]) -> None:
    weight, bias = normal((4, 5)), normal((5,), seed=1)
    model = imported([node("MatMul", "x w", "h", name="fc"), node("Add", "h b", "y")], shape, w=weight, b=bias)
    [linear] = model.graph.nodes
    assert (linear.op, linear.inputs) == ("Linear", ("x", "w", "", "fc.bias"))
    np.testing.assert_array_equal(model.tensors["w"], weight.T)
    assert model.tensors["w"].flags.c_contiguous


def test_gemm_factors_become_scale_and_bias() -> None:
    model = imported(
        [node("Gemm", "x w c", "y", name="fc", transB=1, alpha=0.5, beta=2.0)],
        (3, 4),
        w=normal((5, 4)),
        c=np.ones((1, 5), np.float32),
    )
    [linear] = model.graph.nodes
    assert (linear.op, linear.inputs) == ("Linear", ("x", "w", "fc.scale", "fc.bias"))
    np.testing.assert_array_equal(model.tensors["fc.scale"], np.full(5, 0.5, np.float32))
    np.testing.assert_array_equal(model.tensors["fc.bias"], np.full(5, 2.0, np.float32))


def test_matrix_used_in_both_orientations() -> None:
    nodes = [node("MatMul", "x w", "h"), node("Gemm", "h w", "y", transB=1)]
    model = imported(nodes, (3, 4), w=normal((4, 4)))
    assert set(model.tensors) == {"w", "w.transposed"}


@pytest.mark.parametrize("opset", OPSETS)
def test_computed_target_of_reshape_with_dynamic_batch(opset: int) -> None:
    """x.view(x.size(0), -1) as exporters write it."""
    unsqueeze = node("Unsqueeze", "n", "n1", axes=[0]) if opset < 13 else node("Unsqueeze", "n zero", "n1")
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s first", "n", axis=0),
        unsqueeze,
        node("Concat", "n1 rest", "target", axis=0),
        node("Reshape", "x target", "y"),
    ]
    constants = {"first": np.array(0), "rest": np.array([-1]), "zero": np.array([0])}
    model = imported(nodes, ("N", 3, 5, 5), opset, **constants)
    assert operators(model) == ["Reshape"]
    assert model.graph.outputs[0].shape[0] == "N"
    model = imported(nodes, (None, 3, None, 5), opset, **constants)
    assert operators(model) == ["Reshape"]
    assert imported(nodes, (2, 3, 5, 5), opset, **constants).graph.outputs[0].shape == (2, 75)


def test_target_that_really_depends_on_the_data_is_refused() -> None:
    nodes = [
        node("Cast", "x", "target", to=onnx.TensorProto.INT64),
        node("Reshape", "z target", "y", name="view"),
    ]
    model = make_model(nodes, {"x": (2,)}, {"y": None}, {"z": normal((4, 4))})
    with pytest.raises(UnsupportedError, match=r"Cast 'Cast_target' \(.*\), Reshape 'view' \(its target shape is not"):
        load_onnx(model)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), ("N", 3, 4, 5)])
def test_softmax_before_opset_13_normalizes_all_axes_behind(axis: int, shape: tuple[int | str, ...]) -> None:
    imported([node("Softmax", "x", "y", axis=axis)], shape, opset=11)


def test_constant_subgraphs_are_folded() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["ones"], value=helper.make_tensor("v", 1, [1], [1.0])),
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        node("Mul", "ones two", "twos"),
        node("Transpose", "w", "wt", perm=[1, 0]),
        node("MatMul", "x wt", "h"),
        node("Add", "h twos", "y"),
    ]
    model = imported(nodes, (3, 4), size=np.array([5]), w=normal((5, 4)))
    assert operators(model) == ["Linear"]


def test_folding_does_not_allocate_what_a_hostile_file_asks_for() -> None:
    nodes = [node("ConstantOfShape", "size", "huge"), node("Add", "x huge", "y")]
    model = make_model(nodes, {"x": (1,)}, {"y": None}, {"size": np.array([2**40, 2**20])})
    with pytest.raises(UnsupportedError, match="ConstantOfShape 'ConstantOfShape_huge'"):
        load_onnx(model)


def test_outputs_that_are_other_values() -> None:
    """An input, a constant, the same value twice, and a value behind Identity nodes."""
    nodes = [
        node("Identity", "x", "a"),
        node("Identity", "k", "b"),
        node("Relu", "x", "r"),
        node("Identity", "r", "p"),
        node("Dropout", "r", "q"),
    ]
    model = imported(nodes, (2, 3), outputs=("a", "b", "p", "q", "c"), c=normal((2, 3), seed=3), k=normal((3, 2)))
    assert operators(model).count("Relu") == 1
    assert [value.name for value in model.graph.outputs] == ["a", "b", "p", "q", "c"]


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_other_float_types_become_float32(dtype: str) -> None:
    element_type = {"float16": 10, "float64": 11, "bfloat16": 16}[dtype]
    weight = normal((4, 5)).astype(onnx.helper.tensor_dtype_to_np_dtype(element_type))
    nodes = [
        node("Cast", "x", "half", to=element_type),
        node("MatMul", "half w", "h"),
        node("Cast", "h", "y", to=onnx.TensorProto.FLOAT),
    ]
    model = load_onnx(make_model(nodes, {"x": (3, 4)}, {"y": None}, {"w": weight}))
    assert operators(model) == ["Linear"]
    np.testing.assert_array_equal(model.tensors["w"], weight.T.astype(np.float32), strict=True)
    assert model.dense_bytes == 80


def test_all_that_is_not_supported_is_listed_in_one_line() -> None:
    nodes = [
        node("LSTM", "x w r", "h", hidden_size=2, name="rnn"),
        helper.make_node("Mystery", ["h"], ["i"], name="m", domain="com.example"),
        node("Erf", "i", "j"),
        node("Conv", "j j", "y", name="dynamic"),
        node("Sqrt", "x", "unused"),
    ]
    model = make_model(nodes, {"x": (1, 2, 3)}, {"y": None}, {"w": normal((1, 8, 3)), "r": normal((1, 8, 2))})
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(UnsupportedError) as caught:
        load_onnx(model)
    assert str(caught.value) == (
        "ONNX model: not supported: LSTM 'rnn', com.example.Mystery 'm', Erf 'Erf_j', "
        "Conv 'dynamic' (its weight is not constant)"
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_network_of_the_paper(name: str) -> None:
    model = load_onnx(build(name))
    assert set(operators(model)) <= {
        "Conv", "Relu", "Clip", "MaxPool", "LRN", "Flatten", "Linear", "Add", "ReduceMean",
    }  # fmt: skip
    parameters = {"alexnet": 60_965_224, "mobilenet-v1": 4_231_976 + 21_888 + 2, "resnet-50": 25_557_032 + 53_120}
    assert model.dense_bytes == 4 * parameters[name]
    assert model.graph.inputs[0].shape == ("N", 3, 224, 224)


@pytest.mark.parametrize("opset", [opset for opset in OPSETS if opset >= 13])
def test_mobilenet_in_every_opset(opset: int) -> None:
    """The same network through ONNX's version converter (which cannot go below 13 with Clip): the same bits."""
    model = build("mobilenet-v1", batch=1)
    x = {"input": normal((1, 3, 224, 224))}
    [want] = run_reference(load_onnx(model), x)
    [got] = run_reference(load_onnx(version_converter.convert_version(model, opset)), x)
    np.testing.assert_array_equal(got, want)
