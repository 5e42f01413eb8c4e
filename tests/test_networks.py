"""Whole networks: those of the paper with synthetic weights, and a trained one where the package index can be reached."""

import subprocess

import numpy as np
import pytest

import opq
from opq.verification import compare_outputs, verify

pytest.importorskip("onnx")
from benchmarks.networks_of_the_paper import NETWORKS, build
from benchmarks.real_networks import open_nsfw, open_nsfw_input, photographs


def image(model, batch=1):
    [argument] = opq.Session(model).get_inputs()
    shape = [d if isinstance(d, int) else batch for d in argument.shape]
    return {argument.name: np.random.default_rng(0).normal(size=shape).astype(np.float32)}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_the_paper(name):
    """Compressed to the ratio, run, and every node within its bound of the reference."""
    model = opq.load_onnx(build(name))
    result = opq.compress(model, ratio=10)
    assert 0.98 * model.dense_bytes / 10 <= len(result.to_bytes()) <= model.dense_bytes / 10
    checked = verify(result, image(result), threads=2)
    assert checked.same_bits
    assert [node for node in checked.nodes if not node.passed] == []


def test_a_pruned_network_keeps_its_zeros():
    """As a network that comes from another sparse engine: 90 % zeros, and the same ones afterwards."""
    model = opq.load_onnx(build("mobilenet-v1", sparsity=0.9))
    result = opq.compress(model, bits=4)
    for layer in result.report["layers"]:
        np.testing.assert_array_equal(result[layer["name"]].codes != 0, model.tensors[layer["name"]] != 0)
    inputs = image(result, batch=2)
    outputs = opq.Session(result, threads=2).run(None, inputs)
    [difference] = compare_outputs(["output"], opq.Session(model).run(None, inputs), outputs)
    assert difference.signal_to_noise > 3


@pytest.fixture(scope="module")
def nsfw():
    try:
        return opq.load_onnx(open_nsfw())
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"open-nsfw cannot be fetched: {error}")


def test_open_nsfw(nsfw):
    result = opq.compress(nsfw, ratio=8)
    assert 0.98 <= len(result.to_bytes()) * 8 / nsfw.dense_bytes <= 1
    x = np.concatenate([open_nsfw_input(photograph) for photograph in photographs().values()])
    [name] = [argument.name for argument in opq.Session(result).get_inputs()]
    checked = verify(result, {name: x[:1]}, threads=2)
    assert checked.passed
    [dense], [compressed] = (opq.Session(m).run(None, {name: x}) for m in (nsfw, result))
    assert np.abs(dense - compressed).mean() < 0.01


def test_open_nsfw_agrees_with_onnx_runtime(nsfw):
    onnxruntime = pytest.importorskip("onnxruntime")
    x = open_nsfw_input(next(iter(photographs().values())))
    session = onnxruntime.InferenceSession(str(open_nsfw()), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    [theirs] = session.run(None, {name: x})
    for backend in ("core", "reference"):
        [ours] = opq.Session(nsfw, backend=backend).run(None, {name: x})
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
