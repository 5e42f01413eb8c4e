"""Which kernel multiplies a layer: the model's choice, the caller's word, and the same result whichever it is."""

import dataclasses

import numpy as np
import pytest
from networks import conv, quantized

import opq
from opq.graph import Graph, Node, ValueInfo
from opq.quantization import QuantizedTensor
from opq.reference.ranges_section import Range


def network(levels=7, zeros=0.6):
    """(model, input): a convolution, a depthwise one and a matrix."""
    rng = np.random.default_rng(1)
    tensors = {
        "c.weight": quantized(rng, (24, 5, 3, 3), levels, zeros),
        "d.weight": quantized(rng, (24, 1, 3, 3), levels, 0.2),
        "f.weight": quantized(rng, (70, 24), levels, zeros),
    }
    nodes = (
        conv("c", "x", "c", kernel=3),
        Node("Relu", "r", ("c",), ("r",)),
        conv("d", "r", "d", kernel=3, group=24),
        Node("ReduceMean", "m", ("d",), ("m",), {"axes": [2, 3], "keepdims": 0}),
        Node("Linear", "f", ("m", "f.weight"), ("y",)),
    )
    graph = Graph((ValueInfo("x", "float32", ("N", 5, 19, 23)),), (ValueInfo("y", "float32", ("N", 70)),), nodes)
    ranges = {"x": Range(-4.0, 4.0), "r": Range(0.0, 6.0), "d": Range(-5.0, 5.0), "m": Range(-2.0, 2.0)}
    x = rng.normal(size=(2, 5, 19, 23)).astype(np.float32)
    return opq.CompressedModel(graph, tensors, ranges=ranges), x


def plan_of(model, precision, **options):
    return {entry["name"]: entry for entry in opq.Session(model, precision=precision, threads=1, **options).plan()}


@pytest.mark.parametrize(
    ("precision", "convolution", "linear"),
    [
        ("float32", {"sparse", "dense"}, {"sparse", "dense"}),
        ("int16", {"sparse"}, {"sparse", "dense"}),
        ("int8", {"sparse", "dense"}, {"sparse", "dense", "4-bit"}),
    ],
)
def test_every_kernel_gives_the_same_result(precision, convolution, linear):
    model, x = network()
    plan = plan_of(model, precision)
    assert set(plan["c"]["seconds_per_pixel"]) == convolution
    assert set(plan["f"]["seconds_per_pixel"]) == linear
    assert set(plan["d"]["seconds_per_pixel"]) == {"depthwise"}
    [expected] = opq.Session(model, precision=precision, threads=1).run(None, {"x": x})
    for of_convolution in convolution:
        for of_linear in linear:
            kernels = {"c": of_convolution, "f": of_linear, "d": "depthwise"}
            session = opq.Session(model, precision=precision, threads=2, kernels=kernels)
            assert {entry["name"]: entry["kernel"] for entry in session.plan()} == kernels
            assert all(entry["wanted"] for entry in session.plan())
            np.testing.assert_array_equal(session.run(None, {"x": x})[0], expected)


@pytest.mark.parametrize("precision", ["float32", "int16", "int8"])
def test_the_choice_is_the_least_estimate(precision):
    for zeros in (0.0, 0.5, 0.99):
        for entry in plan_of(network(zeros=zeros)[0], precision).values():
            estimates = entry["seconds_per_pixel"]
            assert entry["kernel"] == min(estimates, key=estimates.get)
            assert not entry["wanted"]
            assert all(0 < seconds < 1e-3 for seconds in estimates.values())


def test_zeros_make_the_sparse_kernel_cheaper_and_leave_the_dense_one():
    few, many = (plan_of(network(zeros=zeros)[0], "int8")["c"]["seconds_per_pixel"] for zeros in (0.1, 0.9))
    assert few["dense"] == many["dense"]
    assert many["sparse"] < few["sparse"]


def test_facts_of_a_layer():
    model, _ = network(levels=5)
    for name, entry in plan_of(model, "int8").items():
        codes = model[f"{name}.weight"].codes
        assert (entry["rows"], entry["depth"]) == (codes.shape[0], codes[0].size)
        assert entry["nonzeros"] == np.count_nonzero(codes)
        assert entry["largest_code"] == np.abs(codes.astype(int)).max()
        assert entry["precision"] == "int8"
        assert entry["tile"] == (1 if name == "f" else 64)


def test_codes_that_a_kernel_cannot_hold():
    assert "4-bit" not in plan_of(network(levels=31)[0], "int8")["f"]["seconds_per_pixel"]
    plan = plan_of(network(levels=127)[0], "int8")
    assert set(plan["c"]["seconds_per_pixel"]) == set(plan["f"]["seconds_per_pixel"]) == {"sparse", "dense"}


def test_weights_that_are_not_codes_have_a_dense_kernel_alone():
    model, _ = network()
    dense = {name: t.dequantize() if isinstance(t, QuantizedTensor) else t for name, t in model.tensors.items()}
    for precision in ("float32", "int8"):
        plan = plan_of(dataclasses.replace(model, tensors=dense), precision)
        assert set(plan["c"]["seconds_per_pixel"]) == set(plan["f"]["seconds_per_pixel"]) == {"dense"}
        assert plan["c"]["precision"] == "float32"
        assert plan["c"]["largest_code"] == 0


@pytest.mark.parametrize(
    ("kernels", "words"),
    [
        ({"z": "dense"}, ("z", "no Conv or Linear")),
        ({"r": "dense"}, ("r", "no Conv or Linear")),
        ({"c": "fast"}, ("fast", "c", "sparse, dense, 4-bit or depthwise")),
        ({"c": "4-bit"}, ("node c", "4-bit", "expected sparse, dense")),
        ({"d": "sparse"}, ("node d", "sparse", "expected depthwise")),
    ],
)
def test_wishes_that_cannot_be_met(kernels, words, tmp_path):
    model, _ = network()
    model.save(tmp_path / "net.opq")
    for source in (model, tmp_path / "net.opq"):
        with pytest.raises(ValueError) as caught:
            opq.Session(source, kernels=kernels)
        assert all(word in str(caught.value) for word in words)


def test_the_reference_has_no_kernels():
    model, _ = network()
    with pytest.raises(ValueError, match="the reference has none"):
        opq.Session(model, backend="reference", kernels={"c": "dense"})
    assert opq.Session(model, backend="reference").plan() == []


def test_a_wish_is_for_one_session():
    model, _ = network()
    assert plan_of(model, "int8", kernels={"f": "sparse"})["f"]["wanted"]
    assert not plan_of(model, "int8")["f"]["wanted"]


@pytest.mark.parametrize("precision", ["float32", "int16", "int8"])
def test_the_peak_is_faster_than_a_small_layer(precision):
    """Products per second of a thread: not less than 1e8 on any machine that runs this, nor more than 1e13."""
    assert 1e8 < opq._core.peak_products(precision) < 1e13


def test_two_threads_are_some_time_apart():
    trip = opq._core.round_trip_seconds()
    assert trip is None or 1e-9 < trip < 1e-3


@pytest.mark.parametrize("largest", [7, 8, 31, 63, 127])
@pytest.mark.parametrize("precision", ["float32", "int16", "int8"])
def test_sparse_columns_number_their_rows_beside_codes_of_any_size(largest, precision):
    """Entries of 16 bits have room for 1024 rows of small codes, and for 256 of the largest: here are several blocks."""
    rng = np.random.default_rng(largest)
    codes = rng.integers(-largest, largest + 1, (2100, 530)) * (rng.random((2100, 530)) < 0.1)
    codes[1030] = 0
    codes[:, 7] = largest  # a whole column
    weight = QuantizedTensor(codes.astype(np.int8), 0.01, largest)
    graph = Graph(
        (ValueInfo("x", "float32", ("N", 530)),), (ValueInfo("y", "float32", ("N", 2100)),),
        (Node("Linear", "f", ("x", "f.weight"), ("y",)),),
    )  # fmt: skip
    model = opq.CompressedModel(graph, {"f.weight": weight}, ranges={"x": Range(0.0, 4.0), "y": Range(-40.0, 40.0)})
    x = np.maximum(rng.normal(size=(3, 530)), 0.0).astype(np.float32)
    for batch in (x[:1], x):
        sparse, dense = (
            opq.Session(model, precision=precision, threads=2, kernels={"f": kernel}).run(None, {"x": batch})[0]
            for kernel in ("sparse", "dense")
        )
        np.testing.assert_array_equal(sparse, dense)
