"""Two networks side by side."""

import json

import numpy as np
import pytest
from commands import failure, run_command
from networks import quantized

import opq
from opq.comparison import compare_tensors, relative_error
from opq.compressed import CompressedModel

pytest.importorskip("onnx")

from small_onnx import save_small_network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with net.onnx, fine.opq, coarse.opq, x.npy, weights.npz, weights.opq."""
    path = tmp_path_factory.mktemp("compare")
    shape = save_small_network(path / "net.onnx")
    np.save(path / "x.npy", np.random.default_rng(0).normal(size=shape).astype(np.float32))
    model = opq.load_onnx(path / "net.onnx")
    opq.compress(model, ratio=5).save(path / "fine.opq")
    opq.compress(model, ratio=15).save(path / "coarse.opq")
    np.savez(path / "weights.npz", w=np.random.default_rng(1).laplace(size=(16, 64)).astype(np.float32))
    opq.compress(opq.load_npz(path / "weights.npz"), bits=4).save(path / "weights.opq")
    return path


@pytest.fixture
def compare(folder, capsys):
    """The JSON of the command."""

    def compared(first, second, *options):
        return json.loads(run_command(capsys, "compare", folder / first, folder / second, "--json", *options).out)

    return compared


def test_relative_error_is_noise_over_signal():
    a, b = np.array([[3.0, 4.0]]), np.array([[3.0, 3.0]])
    assert relative_error(a, b) == 1.0 / 25.0
    assert relative_error(a, a) == 0.0
    assert relative_error(0.0 * a, b) == np.inf
    assert relative_error(np.zeros(0), np.zeros(0)) == 0.0
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, (1 << 20) + 3)).astype(np.float32)  # more than one block
    assert relative_error(x, y) == pytest.approx(np.sum((x.astype(float) - y) ** 2) / np.sum(x.astype(float) ** 2), rel=1e-12)


def test_tensors_are_matched_by_name_and_shape():
    rng = np.random.default_rng(0)
    codes = quantized(rng, (4, 8), 3, 0.5)
    first = {"both": np.ones((2, 4), np.float32), "a": np.ones(3, np.float32), "shape": np.ones((2, 2), np.float32)}
    second = CompressedModel(
        None,
        {"b": codes, "both": np.array([[1, 0, 1, 1]] * 2, np.float32), "shape": np.ones(4, np.float32), "n": np.arange(3)},
    )
    rows = {row.name: row for row in compare_tensors(first, second)}
    assert list(rows) == ["both", "a", "shape", "b"]  # integers are not compared
    assert rows["both"].error == 2 / 8
    assert (rows["both"].first.sparsity, rows["both"].second.sparsity) == (0.0, 0.25)
    assert rows["both"].first.bytes == 32
    assert rows["both"].second.bytes == second.entries["both"].bytes
    assert rows["a"].second is None
    assert rows["b"].first is None
    assert rows["b"].second.quantized
    assert [rows[name].error for name in ("a", "b", "shape")] == [None] * 3
    assert [rows[name].is_layer for name in rows] == [True, False, True, True]


def test_a_file_equals_itself(compare):
    data = compare("fine.opq", "fine.opq")
    assert {tensor["error"] for tensor in data["tensors"]} == {0.0}
    [output] = data["outputs"]
    assert (output["largest"], output["signal_to_noise"], output["agreement"]) == (0.0, None, 1.0)


def test_onnx_against_a_file(folder, compare):
    """The errors follow from the weights of both; the finer file is the closer one."""
    dense, file = opq.load_onnx(folder / "net.onnx"), opq.load(folder / "fine.opq")
    fine, coarse = (compare("net.onnx", name) for name in ("fine.opq", "coarse.opq"))
    for tensor in fine["tensors"]:
        a, b = dense.tensors[tensor["name"]], file.dense_tensors()[tensor["name"]]
        assert tensor["error"] == pytest.approx(np.sum((a.astype(float) - b) ** 2) / np.sum(a.astype(float) ** 2))
        assert tensor["first"]["bytes"] == 4 * a.size
        assert tensor["second"]["bytes"] == file.entries[tensor["name"]].bytes
    assert fine["outputs"][0]["mean"] < coarse["outputs"][0]["mean"]
    other_way = compare("fine.opq", "net.onnx")
    assert other_way["outputs"][0]["largest"] == fine["outputs"][0]["largest"]
    assert other_way["tensors"][0]["second"]["quantized"] is False


def test_inputs_are_given_or_seeded(folder, compare):
    given = compare("net.onnx", "coarse.opq", "--input", folder / "x.npy")["outputs"]
    dense, small = (opq.Session(s) for s in (opq.load_onnx(folder / "net.onnx"), folder / "coarse.opq"))
    x = np.load(folder / "x.npy")
    [a], [b] = dense.run(None, {"x": x}), small.run(None, {"x": x})
    assert given[0]["largest"] == np.abs(a.astype(float) - b).max()
    seeds = [compare("net.onnx", "coarse.opq", "--seed", seed)["outputs"] for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]
    assert compare("fine.opq", "coarse.opq", "--batch", 3, "--threads", 1)["outputs"][0]["agreement"] is not None


def test_table(folder, capsys):
    text = run_command(capsys, "compare", folder / "net.onnx", folder / "fine.opq").out
    for word in ("zeros a", "bytes b", "w1", "layers", "other tensors", "output y", "signal to noise"):
        assert word in text


def test_tensors_without_a_graph(folder, compare, capsys):
    data = compare("weights.npz", "weights.opq")
    assert data["outputs"] == []
    assert [tensor["name"] for tensor in data["tensors"]] == ["w"]
    assert data["tensors"][0]["error"] > 0.0
    for second, apart in (("weights.opq", False), ("fine.opq", True)):
        text = run_command(capsys, "compare", folder / "weights.npz", folder / second).out
        assert ("in one file only" in text) is apart


@pytest.mark.parametrize(
    ("first", "second", "options", "words"),
    [
        ("weights.npz", "weights.opq", ["--input", "x.npy"], "without a graph"),
        ("fine.opq", "absent.opq", [], "absent.opq"),
        ("fine.opq", "x.npy", [], "ending"),
        ("fine.opq", "coarse.opq", ["--batch", "0"], "--batch"),
    ],
)
def test_failures_are_one_line(folder, capsys, first, second, options, words):
    options = [folder / option if option == "x.npy" else option for option in options]
    assert words in failure(capsys, "compare", folder / first, folder / second, *options)


def test_other_outputs_are_refused(folder, tmp_path, capsys):
    model = opq.load(folder / "fine.opq")
    [output] = model.graph.outputs
    renamed = opq.ValueInfo("z", output.dtype, output.shape)
    nodes = tuple(
        opq.Node(n.op, n.name, n.inputs, tuple("z" if o == output.name else o for o in n.outputs), n.attributes)
        for n in model.graph.nodes
    )
    CompressedModel(opq.Graph(model.graph.inputs, (renamed,), nodes), model.tensors).save(tmp_path / "z.opq")
    assert "the outputs are 'z'" in failure(capsys, "compare", folder / "fine.opq", tmp_path / "z.opq")
