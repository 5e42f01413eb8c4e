"""Repairs: means and spreads of a layer's outputs come back, and only where the wiring is what BatchNorm says."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import opq
from opq.moments import Moments
from opq.quantization import QuantizedTensor
from opq.repair import repair

CHANNELS, SIZE = 16, 12


def trained(seed=0, group=1, stride=1):
    """Conv, BatchNorm, Relu, Conv, BatchNorm, Relu, Conv whose BatchNorms have the statistics of normal inputs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(64, 3, SIZE, SIZE)).astype(np.float32)
    tensors, nodes, value = {}, [], "x"
    for i, (channels, groups) in enumerate([(3, 1), (CHANNELS, group), (CHANNELS, 1)]):
        tensors[f"w{i}"] = rng.laplace(size=(CHANNELS, channels // groups, 3, 3)).astype(np.float32)
        attributes = {"pads": [1, 1, 1, 1], "group": groups, "strides": [stride, stride] if i == 1 else [1, 1]}
        nodes.append(helper.make_node("Conv", [value, f"w{i}"], [f"c{i}"], **attributes))
        [output] = run(tensors, nodes, f"c{i}", x)
        tensors[f"gamma{i}"] = rng.uniform(0.5, 2, size=CHANNELS).astype(np.float32)
        tensors[f"beta{i}"] = rng.normal(size=CHANNELS).astype(np.float32)
        tensors[f"mean{i}"], tensors[f"var{i}"] = output.mean(axis=(0, 2, 3)), output.var(axis=(0, 2, 3))
        nodes.append(
            helper.make_node("BatchNormalization", [f"c{i}", *(f"{k}{i}" for k in ("gamma", "beta", "mean", "var"))], [f"b{i}"])
        )
        nodes.append(helper.make_node("Relu", [f"b{i}"], [f"r{i}"]))
        value = f"r{i}"
    return opq.load_onnx(model(tensors, nodes, value)), x


def model(tensors, nodes, output):
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])]
    result = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", values, result, [numpy_helper.from_array(a, n) for n, a in tensors.items()])
    return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))


def run(tensors, nodes, output, x):
    return opq.Session(opq.load_onnx(model(tensors, nodes, output))).run(None, {"x": x})


def preactivation(model, tensors, x):
    """Before the last Relu."""
    last = model.graph.nodes[-1]
    assert last.op == "Relu"
    graph = replace(model.graph, nodes=model.graph.nodes[:-1], outputs=(replace(model.graph.outputs[0], name=last.inputs[0]),))
    return opq.Session(opq.CompressedModel(graph, tensors, {})).run(None, {"x": x})[0]


@pytest.mark.parametrize(("group", "stride"), [(1, 1), (1, 2), (CHANNELS, 1), (4, 1)])
def test_means_and_spreads_come_back(group, stride):
    network, x = trained(group=group, stride=stride)
    plain = opq.compress(network, sparsity=0.6, bits=3, repair=False)
    repaired = opq.compress(network, sparsity=0.6, bits=3)
    for name, tensor in repaired.items():
        if isinstance(tensor, QuantizedTensor):
            np.testing.assert_array_equal(tensor.codes, plain[name].codes, err_msg="masks and codes stay")
    dense = preactivation(network, network.tensors, x)
    before, after = (preactivation(network, m.tensors, x) - dense for m in (plain, repaired))
    axes = (0, 2, 3)
    assert np.square(after.mean(axis=axes)).sum() < 0.3 * np.square(before.mean(axis=axes)).sum()
    assert np.square(after).mean() < np.square(before).mean()


def test_the_report_says_what_was_done():
    network, _ = trained()
    layers = {layer["name"]: layer["repair"] for layer in opq.compress(network, bits=4).report["layers"]}
    assert layers == {"w0": "the mean of its input is not known", "w1": "corrected", "w2": "corrected"}
    assert {layer["repair"] for layer in opq.compress(network, bits=4, repair=False).report["layers"]} == {None}


def test_wrong_wiring_is_noticed():
    """Somebody else's statistics: the derived mean of w2's output is not what its BatchNorm says."""
    network, _ = trained()
    values = list(network.moments)
    strange = {
        **network.moments,
        values[1]: Moments(network.moments[values[1]].mean + 3.0, network.moments[values[1]].variance),
    }
    other = replace(network, moments=strange)
    report = repair(other, opq.compress(other, bits=4, repair=False).tensors)[1]
    assert report["w1"] == "its output's mean is not what its BatchNorm says"
    assert report["w2"] == "its output's mean is not what its BatchNorm says"


def test_exact_codes_need_no_repair():
    network, _ = trained()
    exact = {name: np.sign(w) if name.startswith("w") else w for name, w in network.tensors.items()}
    network = replace(network, tensors=exact, moments={"r0": Moments(np.ones(CHANNELS), np.ones(CHANNELS))})
    tensors = {
        name: QuantizedTensor(w.astype(np.int8), 1.0, 1) if name.startswith("w") else w for name, w in network.tensors.items()
    }
    repaired, report = repair(network, tensors)
    assert report["w1"] == "corrected"
    for name, tensor in tensors.items():
        if not isinstance(tensor, QuantizedTensor):
            np.testing.assert_allclose(repaired[name], tensor, rtol=1e-6)


def test_a_pruned_channel_and_a_dead_one():
    network, _ = trained()
    weights = network.tensors["w1"].copy()
    weights[0] = 0
    network = replace(network, tensors={**network.tensors, "w1": weights})
    codes = np.sign(weights).astype(np.int8)
    codes[1] = 0
    tensors = {**network.tensors, "w1": QuantizedTensor(codes, 1.0, 1)}
    for name, tensor in repair(network, tensors)[0].items():
        if not isinstance(tensor, QuantizedTensor):
            assert np.isfinite(tensor).all(), name


def test_without_batch_norm_nothing_happens():
    network, _ = trained()
    bare = replace(network, moments={})
    for name, tensor in opq.compress(bare, bits=4).items():
        if not isinstance(tensor, QuantizedTensor) and tensor.dtype == np.float32:
            np.testing.assert_allclose(tensor, network.tensors[name], rtol=1e-3, atol=1e-6)
