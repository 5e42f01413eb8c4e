"""The compiled core against the reference on random networks, and its own bits over threads, batch and instruction sets."""

import ctypes
import ctypes.util
import os
import platform
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_sets import instruction_set
from networks import depthwise_networks, quantized, random_networks, small_network

import opq
from opq import _core
from opq.compressed import CompressedModel
from opq.graph import Graph, Node, ValueInfo
from opq.verification import verify

ISAS = _core.supported_isas()


def run(model, x, threads=1, isa=None):
    """The outputs of the core with one instruction set."""
    with instruction_set(isa):
        session = opq.Session(model, threads=threads)
        assert isa is None or session.instruction_set == isa
        return session.run(None, {"x": x})


def assert_bounds(model, x, threads, isa):
    """Of every node against the reference, with one instruction set."""
    with instruction_set(isa):
        result = verify(model, {"x": x}, threads)
    assert result.same_bits
    assert [node for node in result.nodes if not node.passed] == []


@pytest.mark.parametrize("isa", ISAS)
@given(network=random_networks(), threads=st.integers(1, 4))
@settings(max_examples=60)
def test_random_networks_keep_the_bounds(isa, network, threads):
    assert_bounds(*network, threads, isa)


@pytest.mark.parametrize("isa", ISAS)
@given(network=depthwise_networks(), threads=st.sampled_from([1, 3]))
def test_depthwise_layers_keep_the_bounds(isa, network, threads):
    assert_bounds(*network, threads, isa)
    for a, b in zip(run(*network, threads, isa), run(*network, 1, "scalar"), strict=True):
        assert a.tobytes() == b.tobytes()


@given(network=random_networks())
@settings(max_examples=60)
def test_same_bits_over_threads_batch_and_instruction_sets(network):
    model, x = network
    expected = run(model, x)
    for isa in ISAS:
        for threads in (1, 2, 3, 4):
            for a, b in zip(run(model, x, threads, isa), expected, strict=True):
                assert a.tobytes() == b.tobytes(), (isa, threads)
    for i in range(len(x)):
        for a, b in zip(run(model, x[i : i + 1]), expected, strict=True):
            assert a.tobytes() == b[i : i + 1].tobytes()


@pytest.mark.parametrize("isa", ISAS)
@given(
    rows=st.integers(1, 300), depth=st.integers(1, 300), columns=st.sampled_from([0, 1, 2, 7, 8, 9, 55, 56, 57, 120]),
    levels=st.sampled_from([1, 2, 7, 127]), sparsity=st.sampled_from([0, 0.3, 0.9, 1]), threads=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_matmul(isa, rows, depth, columns, levels, sparsity, threads, seed):
    rng = np.random.default_rng(seed)
    q = quantized(rng, (rows, depth), levels, sparsity)
    x = rng.normal(size=(depth, columns) if columns else depth).astype(np.float32)
    x[rng.random(x.shape) < 0.3] = 0
    with instruction_set(isa):
        y = q.matmul(x, threads=threads)
    steps = q.channel_steps().astype(np.float64).reshape((-1,) + (1,) * (x.ndim - 1))
    codes = q.codes.astype(np.float64)
    n = depth + 2
    gamma = n * 2.0**-24 / (1 - n * 2.0**-24)
    assert y.dtype == np.float32
    assert (np.abs(y - steps * (codes @ x)) <= gamma * steps * (np.abs(codes) @ np.abs(x)) + 1e-40).all()
    single = q.matmul(np.ascontiguousarray(x[:, 0]) if columns else x)
    assert single.tobytes() == np.ascontiguousarray(y[:, 0] if columns else y).tobytes()


def test_matmul_of_other_shapes():
    rng = np.random.default_rng(0)
    q = quantized(rng, (6, 3, 2, 2), 7, 0.5)
    x = rng.normal(size=(12, 5)).astype(np.float32)
    np.testing.assert_allclose(q.matmul(x), q.dequantize().reshape(6, 12) @ x, rtol=1e-5, atol=1e-6)
    w = rng.normal(size=(12, 6)).astype(np.float32)
    other = opq.quantize(w, opq.allocate({"w": w}, bits=8, sparsity=0.0, axis=1)["w"])
    assert other.axis == 1
    np.testing.assert_allclose(other.matmul(x), other.dequantize().T @ x, rtol=1e-4, atol=1e-5)
    assert other.matmul(np.zeros((12, 0))).shape == (6, 0)
    for bad in (x[:5], x[None], np.zeros((12, 2), complex), "text"):
        with pytest.raises(ValueError, match=r"expected float32 \(12,\) or \(12, n\)"):
            other.matmul(bad)
    for threads in (0, -1, 10**9, 1.5):
        with pytest.raises(ValueError, match="threads"):
            other.matmul(x, threads=threads)


def test_one_session_in_many_threads_and_many_sessions_on_one_model():
    model = small_network()
    x = np.random.default_rng(1).normal(size=(2, 3, 9, 6)).astype(np.float32)
    [expected] = run(model, x)
    shared = opq.Session(model, threads=2)
    wrong = []

    def work(session):
        for _ in range(30):
            [y] = session.run(None, {"x": x})
            if y.tobytes() != expected.tobytes():
                wrong.append(y)

    sessions = [shared, shared, opq.Session(model, threads=1), opq.Session(model, threads=3)]
    workers = [threading.Thread(target=work, args=(session,)) for session in sessions]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_shapes_may_change_between_runs():
    model = small_network()
    session = opq.Session(model, threads=2)
    rng = np.random.default_rng(2)
    for batch, height in ((1, 4), (3, 9), (1, 4), (2, 1), (1, 30), (5, 5), (3, 9)):
        x = rng.normal(size=(batch, 3, height, 6)).astype(np.float32)
        [y] = session.run(None, {"x": x})
        [z] = opq.Session(model, backend="reference").run(None, {"x": x})
        np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-6)


def test_unknown_instruction_set_is_named():
    code = "import opq, networks; opq.Session(networks.small_network())"
    environment = {**os.environ, "OPQ_ISA": "mmx", "PYTHONPATH": os.path.dirname(__file__)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert "mmx" in last
    assert all(isa in last for isa in ISAS)


def test_the_callers_rounding_mode_does_not_matter():
    """As that of a caller whose libraries flush denormals: the core computes in the default environment."""
    libm = ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6")
    upward = 0x800 if platform.machine() in ("x86_64", "AMD64") else 0x400000
    model = small_network()
    x = np.random.default_rng(3).normal(size=(1, 3, 9, 6)).astype(np.float32)
    [expected] = run(model, x)
    sessions = [opq.Session(model, threads=threads) for threads in (1, 2)]
    assert libm.fesetround(upward) == 0
    try:
        results = [session.run(None, {"x": x})[0] for session in sessions]
    finally:
        libm.fesetround(0)
    for y in results:
        assert y.tobytes() == expected.tobytes()


FORK = """
import os, numpy as np, opq, networks
x = np.ones((2, 3, 9, 6), np.float32)
session = opq.Session(networks.small_network(), threads=3)
[expected] = session.run(None, {"x": x})
child = os.fork()
if child == 0:
    [y] = session.run(None, {"x": x})
    os._exit(0 if y.tobytes() == expected.tobytes() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_can_run_its_parents_session():
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    result = subprocess.run(
        [sys.executable, "-c", FORK], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "0"


def test_a_pool_with_a_huge_stride_needs_no_more_memory():
    attributes = {
        "kernel_shape": (1, 1), "strides": (1, 2**26), "dilations": (1, 1), "pads": (0, 0, 0, 0), "auto_pad": "NOTSET",
        "ceil_mode": 0,
    }  # fmt: skip
    graph = Graph(
        (ValueInfo("x", "float32", (1, 2, 3, 5)),),
        (ValueInfo("y", "float32", (1, 2, 3, 1)),),
        (Node("MaxPool", "pool", ("x",), ("y",), attributes),),
    )
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 5)).astype(np.float32)
    session = _core.Session(CompressedModel(graph, {}).network, 1)
    [y] = session.run({"x": x}, ["y"])
    np.testing.assert_array_equal(y, x[..., :1])
    assert session.arena_bytes < 1 << 20
