"""The installed command, as a user would call it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from networks import quantized

import opq
from opq.compressed import CompressedModel
from opq.graph import Graph, Node, ValueInfo

pytest.importorskip("onnx")

import onnx
from small_onnx import save_small_network, small_network_model

OPQ = Path(sys.executable).with_name("opq")


def run(*arguments, status=0):
    result = subprocess.run([OPQ, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with net.onnx, net.opq, x.npy."""
    path = tmp_path_factory.mktemp("cli")
    shape = save_small_network(path / "net.onnx")
    np.save(path / "x.npy", np.random.default_rng(0).normal(size=shape).astype(np.float32))
    run("compress", path / "net.onnx", "-o", path / "net.opq", "--ratio", 5)
    return path


def test_help_and_version():
    assert "examples" in run("--help").stdout
    assert opq.__version__ in run("--version").stdout
    for command in ("compress", "inspect", "plot", "pareto", "compare", "run", "verify", "bench", "export"):
        assert "examples" in run(command, "--help").stdout
    run(status=2)
    run("dance", status=2)


def test_compress_prints_the_table_and_meets_the_ratio(folder):
    result = run("compress", folder / "net.onnx", "-o", folder / "a.opq", "--ratio", 6)
    for word in ("layer", "sparsity", "file rate", "packed rate", "paper rate"):
        assert word in result.stdout
    assert "encoding 1:" in result.stderr
    assert run("compress", folder / "net.onnx", "-o", folder / "b.opq", "--ratio", 6, "--quiet").stdout == ""
    assert (folder / "a.opq").read_bytes() == (folder / "b.opq").read_bytes()
    report = json.loads(
        run("compress", folder / "net.onnx", "-o", folder / "c.opq", "--sparsity", 0.8, "--bits", 4, "--json").stdout
    )
    assert report["totals"]["sparsity"] == pytest.approx(0.8, abs=0.01)
    assert run("compress", folder / "net.onnx", "-o", folder / "d.opq", "--size", "20kB", "--quiet")
    assert (folder / "d.opq").stat().st_size <= 20000


def test_inspect(folder):
    result = run("inspect", folder / "net.opq")
    assert "tensor(float)" in result.stdout
    data = json.loads(run("inspect", folder / "net.opq", "--json").stdout)
    assert data["totals"]["file_bytes"] == (folder / "net.opq").stat().st_size
    assert {"shape", "sparsity", "step", "codebook", "bits", "bytes", "predicted_error", "real_error"} <= set(data["layers"][0])
    assert data["inputs"][0]["name"]
    assert "zero-order entropy" in run("inspect", folder / "net.opq", "--sections").stdout
    data = json.loads(run("inspect", folder / "net.opq", "--sections", "--json").stdout)
    assert sum(part["bytes"] for part in data["sections"]) == pytest.approx(data["totals"]["file_bytes"])
    assert {layer["name"] for layer in data["codes"]} == {layer["name"] for layer in data["layers"]}


def test_run_writes_what_the_session_gives(folder):
    run("run", folder / "net.opq", "--input", folder / "x.npy", "--output", folder / "y.npy", "--threads", 2)
    session = opq.Session(folder / "net.opq")
    name = session.get_inputs()[0].name
    [expected] = session.run(None, {name: np.load(folder / "x.npy")})
    np.testing.assert_array_equal(np.load(folder / "y.npy"), expected)
    np.savez(folder / "x.npz", **{name: np.load(folder / "x.npy")})
    run("run", folder / "net.opq", "--input", folder / "x.npz", "--output", folder / "y.npz")
    with np.load(folder / "y.npz") as arrays:
        np.testing.assert_array_equal(arrays[session.get_outputs()[0].name], expected)
    rows = json.loads(run("run", folder / "net.opq", "--batch", 3, "--json", "--backend", "reference").stdout)["outputs"]
    assert rows[0]["shape"][0] == 3
    run("run", folder / "net.opq", "--input", folder / "x.npy", "--output", folder / "y8.npy", "--precision", "int8")
    [integer] = opq.Session(folder / "net.opq", precision="int8").run(None, {name: np.load(folder / "x.npy")})
    np.testing.assert_array_equal(np.load(folder / "y8.npy"), integer)
    assert not np.array_equal(integer, expected)


def test_verify(folder):
    result = run("verify", folder / "net.opq", "--onnx", folder / "net.onnx")
    assert "same bits" in result.stdout
    assert "compressed against dense" in result.stdout
    data = json.loads(run("verify", folder / "net.opq", "--onnx", folder / "net.onnx", "--json").stdout)
    assert data["passed"]
    assert all(node["bound_share"] <= 1 for node in data["nodes"])
    assert [difference["what"] for difference in data["outputs"]] == ["compressed against dense"]
    assert "int16 against float32, y: " in run("verify", folder / "net.opq", "--precision", "int16").stdout
    data = json.loads(run("verify", folder / "net.opq", "--precision", "int8", "--json").stdout)
    assert data["passed"]
    assert [node["op"] for node in data["nodes"]] == ["Conv+Relu", "Conv+Relu", "Conv+Add", "Linear"]
    assert data["outputs"][0]["largest"] > 0


def test_bench(folder):
    pytest.importorskip("onnxruntime")
    arguments = ("bench", folder / "net.opq", "--threads", 2, "--against", "onnxruntime", "--runs", 5)
    text = run(*arguments).stdout
    for word in ("median", "p90", "p99", "peak MB", "GMAC/s", "opq float32 takes"):
        assert word in text
    data = json.loads(run(*arguments, "--json", "--precision", "int8").stdout)
    assert data["precision"] == "int8"
    assert [engine["engine"].split()[0] for engine in data["engines"]] == ["opq", "onnxruntime"]
    assert [engine["runs"] for engine in data["engines"]] == [5, 5]
    assert all(engine["median"] > 0 for engine in data["engines"])
    codes = opq.load(folder / "net.opq")["w2"].codes
    [layer] = [layer for layer in data["layers"] if layer["name"].startswith("conv2")]
    assert (layer["weights"], layer["nonzeros"]) == (codes.size, np.count_nonzero(codes))
    assert layer["gmacs"] <= data["peak_gmacs"]


def test_bench_plan(folder):
    few = ("--runs", 2, "--threads", 1)
    lines = run("bench", folder / "net.opq", *few, "--plan").stdout.splitlines()
    assert [word in lines[0] for word in ("layer", "kernel", "zeros %", "sparse ms", "dense ms", "measured ms")] == [True] * 6
    [conv2] = [line for line in lines if line.startswith("conv2")]
    chosen = conv2.split()[2]
    other = "sparse" if chosen == "dense" else "dense"
    text = run("bench", folder / "net.opq", *few, "--plan", "--kernel", f"conv2={other}").stdout
    assert f"{other} (asked for)" in next(line for line in text.splitlines() if line.startswith("conv2"))
    data = json.loads(run("bench", folder / "net.opq", *few, "--kernel", "conv2=sparse", "--json").stdout)
    [layer] = [layer for layer in data["layers"] if layer["name"].startswith("conv2")]
    assert (layer["plan"]["kernel"], layer["plan"]["wanted"]) == ("sparse", True)
    for kernel, word in (("conv2", "LAYER=KERNEL"), ("conv2=slow", "slow"), ("conv9=dense", "conv9")):
        [line] = [
            line
            for line in run("bench", folder / "net.opq", *few, "--kernel", kernel, status=1).stderr.splitlines()
            if "timing" not in line
        ]
        assert line.startswith("opq: ")
        assert word in line


def test_export(folder):
    onnxruntime = pytest.importorskip("onnxruntime")
    for ending in ("onnx", "safetensors", "npz"):
        run("export", folder / "net.opq", "-o", folder / f"small.{ending}")
    dense = onnxruntime.InferenceSession(str(folder / "small.onnx"), providers=["CPUExecutionProvider"])
    x = np.load(folder / "x.npy")
    name = dense.get_inputs()[0].name
    [a], [b] = dense.run(None, {name: x}), opq.Session(folder / "net.opq").run(None, {name: x})
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    model = opq.load(folder / "net.opq")
    for arrays in (opq.load_npz(folder / "small.npz"), opq.load_safetensors(folder / "small.safetensors")):
        assert set(arrays) == set(model)
        for key, value in model.dense_tensors().items():
            np.testing.assert_array_equal(arrays[key], value)


def test_tensor_files_compress_too(folder):
    rng = np.random.default_rng(0)
    np.savez(folder / "w.npz", a=rng.normal(size=(60, 70)), b=rng.normal(size=9))
    run("compress", folder / "w.npz", "-o", folder / "w.opq", "--ratio", 6)
    assert opq.load(folder / "w.opq")["a"].shape == (60, 70)
    assert "dense tensor" in run("inspect", folder / "w.opq").stdout
    for dense in ("float32", "bfloat16"):
        run("compress", folder / "w.npz", "-o", folder / "w.opq", "--ratio", 6, "--dense", dense)
        [vector] = json.loads(run("inspect", folder / "w.opq", "--json").stdout)["dense_tensors"]
        assert (vector["codec"], vector["bytes"]) == {"float32": ("raw", 36), "bfloat16": ("bfloat16", 18)}[dense]
        assert vector["codec"] in run("inspect", folder / "w.opq").stdout
    assert "without a graph" in run("run", folder / "w.opq", status=1).stderr
    run("export", folder / "w.opq", "-o", folder / "w2.safetensors")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compress", "{}/absent.onnx", "-o", "{}/z.opq", "--ratio", "8"], "absent.onnx"),
        (["compress", "{}/x.npy", "-o", "{}/z.opq", "--ratio", "8"], ".npy"),
        (["compress", "{}/net.onnx", "-o", "{}/z.opq"], "budget"),
        (["compress", "{}/net.onnx", "-o", "{}/z.opq", "--ratio", "8", "--bits", "4"], "budget"),
        (["compress", "{}/net.onnx", "-o", "{}/z.opq", "--ratio", "nan"], "ratio"),
        (["compress", "{}/net.onnx", "-o", "{}/z.opq", "--ratio", "100000"], "reached"),
        (["compress", "{}/net.onnx", "-o", "{}/no/such/z.opq", "--ratio", "8"], "no/such"),
        (["inspect", "{}/net.onnx"], "not an .opq file"),
        (["inspect", "{}"], "directory"),
        (["run", "{}/net.opq", "--input", "{}/net.onnx"], "net.onnx"),
        (["run", "{}/net.opq", "--threads", "0"], "threads"),
        (["run", "{}/net.opq", "--batch", "0"], "--batch 0"),
        (["run", "{}/net.opq", "--batch", str(10**17)], "--batch 1000"),
        (["verify", "{}/net.opq", "--seed", "-1"], "--seed -1"),
        (["bench", "{}/net.opq", "--batch", "-3"], "--batch -3"),
        (["compress", "{}/net.onnx", "-o", "{}/z.opq", "--bits", "1" + "0" * 400], "bits"),
        (["compress", "{}/net.onnx", "-o", "{}/z.opq", "--size", "9" * 400], "size"),
        (["verify", "{}/net.opq", "--onnx", "{}/net.opq"], "net.opq"),
        (["bench", "{}/net.opq", "--runs", "0"], "--runs"),
        (
            ["bench", "{}/net.opq", "--against", "onnxruntime,tflite"],
            "'tflite' is unknown: expected onnxruntime, openvino, mnn",
        ),
        (["export", "{}/net.opq", "-o", "{}/small.tflite"], ".tflite"),
    ],
)
def test_failures_are_one_line(folder, arguments, words):
    result = run(*(a.format(folder) for a in arguments), status=1)
    assert words in result.stderr.splitlines()[-1]
    assert result.stdout == ""
    assert not (folder / "z.opq").exists()


def test_broken_pipe(folder):
    command = f"{OPQ} inspect {folder / 'net.opq'} | head -1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([[1.0, np.nan], [2.0, 3.0]]), "'w': weight (0, 1) is nan"),
        (np.array([[1.0, -np.inf], [2.0, 3.0]]), "'w': weight (0, 1) is -inf"),
        (np.ones((8, 8), dtype=np.int8), "nothing to compress"),
        (np.ones((8, 8), dtype=np.complex64), "complex64"),
    ],
    ids=["nan", "inf", "int8", "complex"],
)
def test_weights_that_do_not_compress_name_the_file(array, words, tmp_path):
    path = tmp_path / "bad.npz"
    np.savez(path, w=array)
    [line] = run("compress", path, "-o", tmp_path / "bad.opq", "--bits", 4, "--quiet", status=1).stderr.splitlines()
    assert line.startswith(f"opq: {path}: ")
    assert words in line
    assert not (tmp_path / "bad.opq").exists()


def test_onnx_weights_that_do_not_compress_name_the_file(tmp_path):
    model = small_network_model()
    [weight] = [tensor for tensor in model.graph.initializer if tensor.name == "w2"]
    values = onnx.numpy_helper.to_array(weight).copy()
    values[1, 2, 0, 0] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(values, "w2"))
    path = tmp_path / "bad.onnx"
    onnx.save(model, str(path))
    [line] = run("compress", path, "-o", tmp_path / "bad.opq", "--bits", 4, "--quiet", status=1).stderr.splitlines()
    assert line.startswith(f"opq: {path}: ")
    assert "weight (1, 2, 0, 0) is nan" in line


def test_help_tells_the_defaults():
    for command, options in {
        "run": ["--threads", "--precision", "--backend", "--batch", "--seed", "--input"],
        "verify": ["--threads", "--precision", "--batch", "--seed", "--input"],
        "bench": ["--threads", "--precision", "--batch", "--seed", "--input", "--runs", "--warmup"],
    }.items():
        text = run(command, "--help").stdout
        entries = text[text.index("options:") : text.index("examples:")].split("\n  -")
        for option in options:
            [entry] = [entry for entry in entries if entry.startswith(f"{option[1:]} ")]
            assert "default" in entry, (command, option)
    assert "(default: 50)" in run("bench", "--help").stdout


NASTY = "a\nb\x1b[31mc\u202e\r\t"
ESCAPED = r"a\nb\x1b[31mc\u202e\r\t"


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    """Files whose names, and the names of whose tensors, nodes, inputs and outputs, hold control characters."""
    path = tmp_path_factory.mktemp("nasty")
    x, y, w, node = (f"{prefix}{NASTY}" for prefix in ("x", "y", "w", "n"))
    rng = np.random.default_rng(0)
    graph = Graph((ValueInfo(x, "float32", (2, 8)),), (ValueInfo(y, "float32", (2, 4)),), (Node("Linear", node, (x, w), (y,)),))
    CompressedModel(graph, {w: quantized(rng, (4, 8), 3, 0.5)}).save(path / "net.opq")
    CompressedModel(None, {w: quantized(rng, (4, 8), 3, 0.5), "d" + NASTY: np.zeros(3, np.float32)}).save(path / "w.opq")
    shutil.copy(path / "net.opq", path / f"{NASTY}.opq")
    return path


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["inspect", "{}/net.opq"], "xyw"),
        (["inspect", "{}/w.opq"], "wd"),
        (["run", "{}/net.opq"], "y"),
        (["verify", "{}/net.opq", "--all"], "n"),
        (["bench", "{}/net.opq", "--runs", "1"], "nx"),
        (["export", "{}/net.opq", "-o", "{}/" + NASTY + ".npz"], "/"),
    ],
)
def test_names_with_control_characters(nasty, arguments, shown):
    result = run(*(a.format(nasty) for a in arguments))
    for line in [*result.stdout.split("\n"), *result.stderr.split("\n")]:
        assert line.isprintable()
    for prefix in shown:
        assert prefix + ESCAPED in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["inspect", "{}/absent" + NASTY], "absent" + ESCAPED),
        (["run", "{}/w.opq"], "without a graph"),
        (["compress", "{}/" + NASTY + ".opq", "-o", "{}/z.opq", "--bits", "4"], "ending"),
        (["compress", "{}/w.opq", "-o", "{}/w.opq", "--bits", "4"], "the source itself"),
        (["run", "{}/net.opq", "--output", "{}/no" + NASTY + "/y.npy"], "no" + ESCAPED),
        (["run", "{}/net.opq", "--threads", "2", "--batch", "0"], "--batch"),
    ],
)
def test_failures_with_control_characters_are_one_line(nasty, arguments, words):
    result = run(*(a.format(nasty) for a in arguments), status=1)
    line = result.stderr.splitlines()[-1]
    assert line.startswith("opq: ")
    assert line.isprintable()
    assert words in line
