"""`opq verify --precision int8`: layers of a network alone, core against reference."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import quantized, random_networks

import opq
from opq.errors import UnsupportedError
from opq.integer_verification import verify_integers
from opq.reference import execution
from opq.reference.integer import execution as integer_execution
from opq.reference.integer.quantized import range_of
from opq.reference.ranges_section import rounded_range


def held(model, x, names):
    """The model, whose layers are all compressed, with ranges for these values."""
    rng = np.random.default_rng(0)
    tensors = {
        name: quantized(rng, t.shape, 7, 0.5) if name.endswith("weight") and isinstance(t, np.ndarray) else t
        for name, t in model.tensors.items()
    }
    values = execution.run(model.graph, tensors, {"x": x}, names)
    ranges = {name: rounded_range(*range_of(value)) for name, value in zip(names, values, strict=True)}
    return dataclasses.replace(model, tensors=tensors, ranges=ranges)


@settings(max_examples=25)
@given(random_networks(), st.sampled_from(["int8", "int16"]), st.booleans())
def test_random_networks_pass(drawn, precision, some):
    model, x = drawn
    names = ["x", *(node.outputs[0] for node in model.graph.nodes)]
    model = held(model, x, names[::2] if some else names)
    result = verify_integers(model, {"x": x}, precision, 2)
    assert result.passed
    layers = [node for node in model.graph.nodes if node.op in ("Conv", "Linear")]
    assert [check.name.split("+")[0] for check in result.nodes] == [node.name for node in layers]


def residual_network():
    pytest.importorskip("onnx")
    from small_onnx import INPUT_SHAPE, small_network_model

    x = np.random.default_rng(0).normal(size=INPUT_SHAPE).astype(np.float32)
    return opq.compress(opq.load_onnx(small_network_model()), bits=4, calibration={"x": x}), x


def test_a_layer_takes_in_what_is_behind_it():
    model, x = residual_network()
    assert [check.op for check in verify_integers(model, {"x": x}, "int8").nodes] == [
        "Conv+Relu",
        "Conv+Relu",
        "Conv+Add",
        "Linear",
    ]


def test_one_wrong_bit_is_found(monkeypatch):
    model, x = residual_network()
    right = integer_execution.run

    def wrong(graph, *arguments):
        [y] = right(graph, *arguments)
        if graph.nodes[0].name == "conv3":
            y.flat[7] = np.nextafter(y.flat[7], np.float32(np.inf))
        return [y]

    monkeypatch.setattr(integer_execution, "run", wrong)
    result = verify_integers(model, {"x": x}, "int8")
    assert not result.passed
    assert [check.name for check in result.nodes if not check.passed] == ["conv3+residual"]


def test_nothing_to_verify():
    model, x = residual_network()
    dense = dataclasses.replace(model, tensors=model.dense_tensors())
    with pytest.raises(UnsupportedError, match="no layer is compressed"):
        verify_integers(dense, {"x": x}, "int8")
    with pytest.raises(UnsupportedError, match="without a graph"):
        verify_integers(dataclasses.replace(model, graph=None), {"x": x}, "int8")
