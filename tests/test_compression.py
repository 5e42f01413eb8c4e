"""The whole path without ONNX: mappings of arrays and small graphs, budgets met by the bytes of real files."""

import numpy as np
import pytest
from networks import conv, small_network

import opq
from opq.graph import Graph, Node, ValueInfo
from opq.quantization import QuantizedTensor


def mapping(seed=0, sizes=((64, 300), (32, 64, 3, 3), (10, 64))):
    rng = np.random.default_rng(seed)
    weights = {f"w{i}": (rng.laplace(size=s) * np.exp(rng.normal())).astype(np.float32) for i, s in enumerate(sizes)}
    return {**weights, "bias": rng.normal(size=64).astype(np.float32)}


def network(seed=0):
    """A Model with BatchNorm (a scale) after the first convolution, none after the second, and a depthwise one in between."""
    rng = np.random.default_rng(seed)
    tensors = {
        "c1.weight": rng.laplace(size=(32, 3, 3, 3)).astype(np.float32),
        "c1.scale": rng.lognormal(size=32).astype(np.float32),
        "c1.bias": rng.normal(size=32).astype(np.float32),
        "dw.weight": rng.laplace(size=(32, 1, 3, 3)).astype(np.float32),
        "c2.weight": rng.laplace(size=(64, 32, 3, 3)).astype(np.float32),
        "fc.weight": rng.laplace(size=(10, 64)).astype(np.float32),
        "fc.bias": rng.normal(size=10).astype(np.float32),
    }
    nodes = (
        conv("c1", "x", "a", "c1.scale", "c1.bias", pads=(1, 1, 1, 1)),
        Node("Relu", "r1", ("a",), ("b",)),
        conv("dw", "b", "c", pads=(1, 1, 1, 1), group=32),
        conv("c2", "c", "d", strides=(2, 2)),
        Node("Relu", "r2", ("d",), ("e",)),
        Node("ReduceMean", "mean", ("e",), ("f",), {"axes": (2, 3), "keepdims": 0}),
        Node("Linear", "fc", ("f", "fc.weight", "", "fc.bias"), ("y",)),
    )
    graph = Graph((ValueInfo("x", "float32", ("N", 3, 16, 16)),), (ValueInfo("y", "float32", ("N", 10)),), nodes)
    return opq.Model(graph, tensors, 4 * sum(t.size for t in tensors.values()), "test")


@pytest.mark.parametrize("ratio", [5, 8, 12, 16, 24])
def test_ratio_is_met_from_below_by_the_file(tmp_path, ratio):
    for model in (mapping(), network()) if ratio < 16 else (mapping(),):
        dense = model.dense_bytes if isinstance(model, opq.Model) else 4 * sum(w.size for w in model.values())
        result = opq.compress(model, ratio=ratio)
        result.save(tmp_path / "x.opq")
        size = (tmp_path / "x.opq").stat().st_size
        assert 0.98 * dense / ratio <= size <= dense / ratio
        assert result.report["totals"]["file_bytes"] == size
        assert result.report["totals"]["file_rate"] == pytest.approx(dense / size)


@pytest.mark.parametrize("size", [12000, "12kB", "11.71875 KiB"])
def test_size_is_met(size):
    assert 0.98 * 12000 <= len(opq.compress(mapping(), size=size).to_bytes()) <= 12000


@pytest.mark.parametrize("budget", [{"ratio": 1}, {"ratio": 5000}, {"size": 300}, {"size": "5MB"}])
def test_unreachable_budgets_give_the_reachable_range(budget):
    with pytest.raises(opq.BudgetError, match=r"cannot be reached: .* \d+ to \d+ bytes") as caught:
        opq.compress(mapping(), **budget)
    smallest, largest = (int(word) for word in str(caught.value).split("have ")[1].split(" bytes")[0].split(" to "))
    for size in (smallest, largest):
        assert 0.98 * size <= len(opq.compress(mapping(), size=size).to_bytes()) <= size


def test_sparsity_and_bits():
    result = opq.compress(mapping(), sparsity=0.8, bits=4)
    totals = result.report["totals"]
    assert totals["sparsity"] == pytest.approx(0.8, abs=1e-3)
    assert all(layer["levels"] <= 7 for layer in result.report["layers"])
    assert totals["paper_rate"] == pytest.approx(32 / (4 * 0.2), rel=0.01)


def test_bits_alone_keeps_the_zeros():
    weights = mapping()
    for w in weights.values():
        if w.ndim > 1:
            w[np.abs(w) < np.quantile(np.abs(w), 0.9)] = 0
    weights["w2"][:] = 0
    result = opq.compress(weights, bits=4)
    for name, w in weights.items():
        if w.ndim > 1:
            np.testing.assert_array_equal(result[name].codes != 0, w != 0)


def test_what_is_quantized_and_what_is_not():
    result = opq.compress(network(), ratio=8)
    quantized = {name for name, t in result.items() if isinstance(t, QuantizedTensor)}
    assert quantized == {"c1.weight", "dw.weight", "c2.weight", "fc.weight"}
    assert result["c1.weight"].scale is None, "BatchNorm's scale serves as the channels' scale"
    assert result["c2.weight"].scale is not None
    arrays = opq.compress({**mapping(), "steps": np.arange(5), "flags": np.array([True])}, ratio=6)
    assert arrays["bias"].dtype == np.float32
    assert arrays["steps"].dtype == np.int64
    thin = opq.compress({"thin": np.ones((900, 1), np.float32), "w": mapping()["w0"]}, bits=4)
    assert not isinstance(thin["thin"], QuantizedTensor)


def test_save_and_load(tmp_path):
    result = opq.compress(mapping(), ratio=10)
    result.save(tmp_path / "w.opq")
    again = opq.load(tmp_path / "w.opq")
    assert again.report == result.report
    np.testing.assert_array_equal(again["w0"].codes, result["w0"].codes)
    assert (tmp_path / "w.opq").read_bytes() == again.to_bytes()


def test_the_report_describes_what_is_in_the_file():
    weights = mapping()
    report = opq.compress(weights, ratio=9).report
    for layer in report["layers"]:
        assert layer["real_error"] == pytest.approx(layer["predicted_error"], rel=0.3)
        assert layer["real_bits"] == pytest.approx(layer["predicted_bits"], rel=0.3)
        assert layer["shape"] == list(weights[layer["name"]].shape)
        assert layer["codebook"] == 2 * layer["levels"] + 1


def test_compressed_network_is_close_to_the_dense_one():
    model = network()
    x = np.random.default_rng(1).normal(size=(8, 3, 16, 16)).astype(np.float32)
    [dense] = opq.Session(model).run(None, {"x": x})
    errors = []
    for bits in (3, 5, 8):
        [y] = opq.Session(opq.compress(model, sparsity=0.0, bits=bits)).run(None, {"x": x})
        errors.append(np.abs(y - dense).max() / np.abs(dense).max())
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_shared_and_reused_weights():
    """A weight that two layers share is quantized once; one that is also read otherwise stays dense."""
    rng = np.random.default_rng(0)
    tensors = {"a.weight": rng.normal(size=(8, 8, 1, 1)).astype(np.float32), "w": rng.normal(size=(8, 64)).astype(np.float32)}
    nodes = (
        conv("a", "x", "p"),
        Node("Conv", "b", ("p", "a.weight"), ("q",), conv("a", "p", "q").attributes),
        Node("Flatten", "flat", ("q",), ("f",), {"axis": 1}),
        Node("Linear", "fc", ("f", "w"), ("g",)),
        Node("Add", "add", ("w", "w"), ("h",)),
    )
    graph = Graph(
        (ValueInfo("x", "float32", (1, 8, 1, 8)),),
        (ValueInfo("g", "float32", (1, 8)), ValueInfo("h", "float32", (8, 64))),
        nodes,
    )
    result = opq.compress(opq.Model(graph, tensors, 4 * 576, "test"), bits=4)
    assert isinstance(result["a.weight"], QuantizedTensor)
    assert not isinstance(result["w"], QuantizedTensor)
    x = rng.normal(size=(1, 8, 1, 8)).astype(np.float32)
    for a, b in zip(
        opq.Session(result).run(None, {"x": x}), opq.Session(result, backend="reference").run(None, {"x": x}), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_bad_tensors_are_named():
    weights = mapping()
    weights["w1"][0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="'w1'"):
        opq.compress(weights, ratio=8)
    model = network()
    model.tensors["fc.bias"][3] = np.inf
    with pytest.raises(ValueError, match=r"'fc\.bias'"):
        opq.compress(model, ratio=8)
    with pytest.raises(opq.UnsupportedError, match="'c'"):
        opq.compress({"c": np.ones((3, 3), complex)}, bits=4)
    with pytest.raises(opq.UnsupportedError, match="nothing to compress"):
        opq.compress({"bias": np.ones(4, np.float32)}, bits=4)
    with pytest.raises(TypeError):
        opq.compress([1.0], bits=4)


def test_progress_is_told():
    lines = []
    opq.compress(mapping(), ratio=8, progress=lines.append)
    stages = [line.split()[0] for line in lines]
    assert stages == ["measuring", *["estimate"] * (len(lines) - 2), "encoding"], "estimates save all files but one"
    assert len(lines) >= 3


def test_saving_leaves_nothing_behind_on_failure(tmp_path):
    result = small_network()
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError):
        result.save(target)
    with pytest.raises(FileNotFoundError):
        result.save(tmp_path / "absent" / "x.opq")
    assert list(tmp_path.iterdir()) == [target]
