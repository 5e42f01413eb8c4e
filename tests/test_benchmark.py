"""What `opq bench` measures with: engines that compute the same, and layers told apart in a profile."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pytest
from networks import quantized

import opq
from opq.benchmark import PEERS, Engine, layer_timings, measure, opq_engine, peer, timing
from opq.graph import Graph, Node, ValueInfo

pytest.importorskip("onnx")

from small_onnx import INPUT_SHAPE, small_network_model

INSTALLED = [name for name, package in PEERS.items() if find_spec(package)]


@pytest.mark.parametrize("name", PEERS)
def test_engines_compute_the_same(name, tmp_path):
    if name not in INSTALLED:
        pytest.skip(f"{PEERS[name]} is not installed")
    import onnx

    model = small_network_model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = INPUT_SHAPE[0]
    onnx.save(model, str(tmp_path / "net.onnx"))
    inputs = {"x": np.random.default_rng(0).normal(size=INPUT_SHAPE).astype(np.float32)}
    [expected] = opq.Session(opq.load_onnx(model)).run(None, inputs)
    outputs = peer(name)(str(tmp_path / "net.onnx"), inputs, 2).load()()
    np.testing.assert_allclose(outputs[0], expected, rtol=1e-3, atol=1e-4)


def test_an_engine_that_is_not_installed_names_its_package(monkeypatch):
    monkeypatch.delitem(sys.modules, "opq.benchmark.mnn_engine", raising=False)
    monkeypatch.setitem(sys.modules, "MNN", None)
    with pytest.raises(ImportError, match="measuring mnn needs its package: pip install MNN"):
        peer("mnn")
    with pytest.raises(ValueError, match="'tflite' is unknown: expected onnxruntime"):
        peer("tflite")


def test_engines_of_every_precision_are_measured_in_turns():
    rng = np.random.default_rng(0)
    graph = Graph(
        (ValueInfo("x", "float32", (2, 8)),), (ValueInfo("y", "float32", (2, 4)),), (Node("Linear", "n", ("x", "w"), ("y",)),)
    )
    model = opq.CompressedModel(graph, {"w": quantized(rng, (4, 8), 3, 0.5)})
    inputs = {"x": rng.normal(size=(2, 8)).astype(np.float32)}
    engines = [opq_engine(model, inputs, 1, precision) for precision in ("float32", "int16", "int8")]
    timings = measure(engines, 1, 3)
    assert [(t.engine, t.runs) for t in timings] == [("opq float32", 3), ("opq int16", 3), ("opq int8", 3)]
    assert all(t.minimum <= t.median <= t.p90 <= t.p99 for t in timings)


@dataclass
class Clock:
    """Instead of the module time: moves by a microsecond when it is looked at, and as told."""

    now: float = 0.0

    def perf_counter(self):
        self.now += 1e-6
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.mark.parametrize(
    ("answers", "wanted", "runs", "disturbed"),
    [
        ([False, True, False, True, True, True, False, False, True, True, False, True, True], 3, 3, 0),
        ([True, True, True, True, True, False, None], 5, 3, 0),
        ([True, True, True, True, False, None], 5, 5, 3),
        ([None], 5, 5, 5),
    ],
)
def test_runs_that_something_else_disturbs_do_not_count(monkeypatch, answers, wanted, runs, disturbed):
    """As long as there is patience, or if three are left then. A moment is one run; None is the end of patience.

    The first: something else runs before the first moment and at the end of the second, and looks as if after the third.
    """
    clock, remaining = Clock(), iter(answers)
    monkeypatch.setattr(timing, "time", clock)
    monkeypatch.setattr(timing, "_MOMENT", 0.0)

    def is_quiet():
        answer = next(remaining)
        if answer is None:
            clock.now += 1000
        return bool(answer)

    [found] = measure([Engine("e", lambda: lambda: None)], 1, wanted, is_quiet, 100)
    assert (found.runs, found.disturbed) == (runs, disturbed)
    assert next(remaining, "none") == "none"


def test_layers_and_their_multiply_adds():
    plan = [
        {"name": "a", "rows": 8, "depth": 27, "tile": 64, "seconds_per_pixel": {"sparse": 1e-6}},
        {"name": "a+b", "rows": 4, "depth": 8, "tile": 1, "seconds_per_pixel": {"sparse": 2e-6, "dense": 1e-6}},
    ]
    first = {"op": "Conv+Relu", "kernel": "sparse", "shape": (2, 8, 10, 5), "nonzeros": 100}
    second = {"op": "Conv", "kernel": "sparse", "shape": (2, 4, 10, 5), "nonzeros": 16}
    last = {"op": "Softmax", "kernel": "", "shape": (2, 4, 10, 5), "nonzeros": 0}
    profiles = [
        [
            {**first, "name": "a+relu", "seconds": t},
            {**second, "name": "a+b", "seconds": t},
            {**last, "name": "s", "seconds": 0.0},
        ]
        for t in (1e-3, 9e-3, 2e-3)
    ]
    a, b, s = layer_timings(profiles, plan)
    assert (a.weights, a.ms) == (216, 2.0)
    assert a.sparsity == 1 - 100 / 216
    assert a.gmacs == pytest.approx(100 * (2 * 10 * 5) / 2e-3 / 1e9)
    assert (b.weights, b.sparsity) == (32, 0.5)
    assert (s.weights, s.sparsity, s.gmacs) == (0, None, None)
    assert a.estimates == {"sparse": pytest.approx(2 * 64e-3)}  # two images of 50 pixels, a tile each
    assert b.estimates == {"sparse": pytest.approx(0.2), "dense": pytest.approx(0.1)}
    assert s.estimates == {}
