"""The installed command, as a user would call it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from networks import small_network

import opq

pytest.importorskip("onnx")

from small_onnx import save_small_network

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
    for command in ("compress", "inspect", "run", "verify", "bench", "export"):
        assert "examples" in run(command, "--help").stdout
    run(status=2)
    run("dance", status=2)


def test_compress_prints_the_table_and_meets_the_ratio(folder):
    result = run("compress", folder / "net.onnx", "-o", folder / "a.opq", "--ratio", 6)
    for word in ("layer", "sparsity", "file rate", "packed rate", "paper rate"):
        assert word in result.stdout
    assert "attempt" in result.stderr
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


def test_verify(folder):
    result = run("verify", folder / "net.opq", "--onnx", folder / "net.onnx")
    assert "same bits" in result.stdout
    assert "compressed against dense" in result.stdout
    data = json.loads(run("verify", folder / "net.opq", "--onnx", folder / "net.onnx", "--json").stdout)
    assert data["passed"]
    assert all(node["bound_share"] <= 1 for node in data["nodes"])


def test_bench(folder):
    pytest.importorskip("onnxruntime")
    arguments = ("bench", folder / "net.opq", "--threads", 2, "--against", "onnxruntime", "--runs", 5)
    assert "median" in run(*arguments).stdout
    data = json.loads(run(*arguments, "--json").stdout)
    assert [engine["runs"] for engine in data["engines"]] == [5, 5]
    assert all(engine["median"] > 0 for engine in data["engines"])
    assert data["profile"]


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
        (["run", "{}/net.opq", "--batch", "0"], "expected"),
        (["verify", "{}/net.opq", "--onnx", "{}/net.opq"], "net.opq"),
        (["bench", "{}/net.opq", "--runs", "0"], "--runs"),
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


def test_an_interrupted_write_leaves_the_old_file(folder, monkeypatch):
    """A failure between writing and renaming: the old file is whole and no other file is left."""
    target = folder / "kept.opq"
    small_network().save(target)
    before, names = target.read_bytes(), sorted(p.name for p in folder.iterdir())
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        small_network(seed=1).save(target)
    assert target.read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == names
