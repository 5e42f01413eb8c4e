"""A batch gives what its images give one by one: whether they are run together or apart, and in what memory."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import conv, quantized, random_networks, small_network
from test_integer_precision import held_everywhere

import opq
from opq.compressed import CompressedModel
from opq.graph import Graph, Node, ValueInfo
from opq.reference import execution


@given(
    network=random_networks(), batch=st.integers(2, 50), threads=st.sampled_from([1, 2, 3]),
    precision=st.sampled_from(["float32", "int16", "int8"]), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(max_examples=80)
def test_images_of_a_batch(network, batch, threads, precision, seed):
    model, x = network
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(batch, *x.shape[1:])).astype(np.float32)
    model = dataclasses.replace(model, ranges=held_everywhere(model, x) if precision != "float32" and seed % 4 else {})
    session = opq.Session(model, threads=threads, precision=precision)
    together = session.run(None, {"x": images})
    for i in {0, batch // 2, batch - 1}:
        for a, b in zip(session.run(None, {"x": images[i : i + 1]}), together, strict=True):
            assert a.tobytes() == b[i : i + 1].tobytes()


X = np.random.default_rng(1).normal(size=(6, 4, 64, 64)).astype(np.float32)

NODES = {
    "softmax over images": [Node("Softmax", "n", ("a",), ("y",), {"axis": 0})],
    "softmax over channels": [Node("Softmax", "n", ("a",), ("y",), {"axis": -3})],
    "images behind images": [Node("Concat", "n", ("a", "a"), ("y",), {"axis": -4})],
    "channels behind channels": [Node("Concat", "n", ("a", "x"), ("y",), {"axis": 1})],
    "one more image": [Node("Pad", "n", ("a",), ("y",), {"pads": (0, 0, 0, 0, 1, 0, 0, 0), "mode": "constant", "value": 0.5})],
    "one more row": [Node("Pad", "n", ("a",), ("y",), {"pads": (0, 0, 1, 0, 0, 0, 0, 0), "mode": "constant", "value": 0.5})],
    "another image in front": [
        Node("Pad", "n", ("a",), ("y",), {"pads": (1, 0, 0, 0, -1, 0, 0, 0), "mode": "constant", "value": 0.0})
    ],
    "transposed": [Node("Transpose", "n", ("a",), ("y",), {"perm": (0, 3, 1, 2)})],
    "images last": [Node("Transpose", "n", ("a",), ("y",), {"perm": (1, 2, 3, 0)})],
    "mean of images": [Node("ReduceMean", "n", ("a",), ("y",), {"axes": (-4,), "keepdims": 1})],
    "mean of images, taken away": [
        Node("ReduceMean", "n", ("a",), ("m",), {"axes": (0,), "keepdims": 1}),
        Node("Sub", "n2", ("a", "m"), ("y",)),
    ],
    "means": [Node("ReduceMean", "n", ("a",), ("y",), {"axes": (2, 3), "keepdims": 0})],
    "a constant per image": [Node("Mul", "n", ("a", "per_image"), ("y",))],
    "a constant": [Node("Mul", "n", ("constant", "a"), ("y",))],
    "a constant of more axes": [Node("Mul", "n", ("a", "wide"), ("y",))],
    "products of images": [Node("MatMul", "n", ("a", "x"), ("y",))],
    "products with a constant": [Node("MatMul", "n", ("matrix", "a"), ("y",))],
    "products between images": [
        Node("Reshape", "n", ("a",), ("b",), {"shape": (0, 16384), "allowzero": 0}),
        Node("Transpose", "n2", ("b",), ("c",), {"perm": (1, 0)}),
        Node("MatMul", "n3", ("b", "c"), ("y",)),
    ],
    "halves of images": [Node("Reshape", "n", ("a",), ("y",), {"shape": (-1, 2, 64, 64), "allowzero": 0})],
    "images of one row": [Node("Flatten", "n", ("a",), ("y",), {"axis": 1})],
    "all in one row": [Node("Flatten", "n", ("a",), ("y",), {"axis": 0})],
    "rows of channels": [Node("Flatten", "n", ("a",), ("y",), {"axis": 2})],
    "made for six images": [Node("Reshape", "n", ("a",), ("y",), {"shape": (6, 128, 128), "allowzero": 0})],
    "three pairs of images": [
        Node("Reshape", "n", ("a",), ("b",), {"shape": (3, 8, 64, 64), "allowzero": 0}),
        Node("ReduceMean", "n2", ("b",), ("y",), {"axes": (1,), "keepdims": 0}),
    ],
    "an axis in front": [Node("Unsqueeze", "n", ("a",), ("y",), {"axes": (0,)})],
    "norm over channels": [Node("LRN", "n", ("a",), ("y",), {"size": 3, "alpha": 0.1, "beta": 0.75, "bias": 1.0})],
}


def network_of(nodes, outputs=("y",)):
    """A convolution from x to a, then `nodes`."""
    rng = np.random.default_rng(2)
    tensors = {
        "c.weight": quantized(rng, (4, 4, 3, 3), 7, 0.5),
        "per_image": rng.normal(size=(6, 1, 1, 1)).astype(np.float32),
        "constant": rng.normal(size=(4, 1, 64)).astype(np.float32),
        "wide": rng.normal(size=(2, 1, 1, 1, 1)).astype(np.float32),
        "matrix": rng.normal(size=(5, 64)).astype(np.float32),
    }
    nodes = (conv("c", "x", "a", kernel=3, pads=(1, 1, 1, 1)), *nodes)
    tensors = {name: tensor for name, tensor in tensors.items() if any(name in node.inputs for node in nodes)}
    graph = Graph((ValueInfo("x", "float32", ("N", 4, 64, 64)),), (), nodes)
    values = execution.run(graph, tensors, {"x": X}, outputs)
    infos = tuple(ValueInfo(name, "float32", (None,) * y.ndim) for name, y in zip(outputs, values, strict=True))
    return CompressedModel(dataclasses.replace(graph, outputs=infos), tensors), values


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", NODES)
def test_steps_that_mix_images_or_do_not(name, threads):
    model, [expected] = network_of(NODES[name])
    [y] = opq.Session(model, threads=threads).run(None, {"x": X})
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2, 4, 5])  # 4, 5: images are left for all threads
def test_outputs_from_everywhere(threads):
    """From steps that run on one image, on all images, and views of them and of the input."""
    rng = np.random.default_rng(3)
    nodes = [
        Node("Flatten", "view", ("x",), ("x.flat",), {"axis": 1}),
        Node("Relu", "relu", ("a",), ("b",)),
        Node("Flatten", "view2", ("b",), ("b.flat",), {"axis": 1}),
        Node("Linear", "fc", ("b.flat", "fc.weight"), ("y",)),
        Node("Softmax", "softmax", ("y",), ("z",), {"axis": 1}),
    ]
    names = ("z", "a", "x.flat", "b.flat", "y")
    model, _ = network_of(nodes[:3], ("a",))
    infos = [ValueInfo(name, "float32", (None,) * (4 if name == "a" else 2)) for name in names]
    graph = dataclasses.replace(model.graph, nodes=(model.graph.nodes[0], *nodes), outputs=tuple(infos))
    tensors = {**model.tensors, "fc.weight": quantized(rng, (70, 16384), 7, 0.1)}
    session = opq.Session(CompressedModel(graph, tensors), threads=threads)
    outputs = session.run(None, {"x": X})
    for y, expected in zip(outputs, execution.run(graph, tensors, {"x": X}, names), strict=True):
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-3)
    for i in range(len(X)):
        for y, one in zip(outputs, session.run(None, {"x": X[i : i + 1]}), strict=True):
            assert y[i : i + 1].tobytes() == one.tobytes()


def test_memory_and_profile_of_images_one_by_one():
    """A network of large activations and small weights holds those of one image, whatever the batch."""
    model = small_network()
    one, many = opq.Session(model, threads=1), opq.Session(model, threads=1)
    x = np.random.default_rng(0).normal(size=(1, 3, 600, 6)).astype(np.float32)
    one.run(None, {"x": x})
    many.run(None, {"x": np.repeat(x, 64, axis=0)})
    assert many._core.arena_bytes < 2 * one._core.arena_bytes
    assert [step["kernel"] for step in many.profile()] == [step["kernel"] for step in one.profile()]
    assert all(step["seconds"] > 0 and step["shape"][0] == 64 for step in many.profile())
