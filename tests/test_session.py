"""`Session`: ONNX Runtime's convention, conversions, and errors that name the input."""

import re
from pathlib import Path

import numpy as np
import pytest
from networks import small_network

import opq
from opq.compressed import CompressedModel
from opq.graph import Graph, Node, ValueInfo
from opq.threads import available_cores

X = np.random.default_rng(0).normal(size=(2, 3, 8, 6)).astype(np.float32)


@pytest.fixture(params=["core", "reference"])
def session(request):
    return opq.Session(small_network(), threads=2, backend=request.param)


def test_inputs_and_outputs(session):
    [x], [y] = session.get_inputs(), session.get_outputs()
    assert (x.name, x.shape, x.type) == ("x", ["N", 3, None, 6], "tensor(float)")
    assert (y.name, y.shape, y.type) == ("y", ["N", 5], "tensor(float)")


def test_run(session):
    [y] = session.run(None, {"x": X})
    assert y.shape == (2, 5)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    [again] = session.run(["y"], {"x": X})
    assert again.tobytes() == y.tobytes()
    assert session.run([], {"x": X}) == []


def test_results_are_the_callers_own(session):
    """A later run does not write into an earlier result, and the input is not written to."""
    before = X.copy()
    [first] = session.run(None, {"x": X})
    kept = first.copy()
    session.run(None, {"x": -X})
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(X, before)


def test_other_types_and_layouts_are_converted(session):
    [expected] = session.run(None, {"x": X})
    padded = np.zeros((2, 3, 8, 12), dtype=np.float32)
    padded[..., ::2] = X
    for same in (X.astype(np.float64), np.asfortranarray(X), padded[..., ::2], X.astype(">f4"), X.tolist()):
        [y] = session.run(None, {"x": same})
        assert y.tobytes() == expected.tobytes()
    rounded = np.rint(X).astype(np.int8)
    [y] = session.run(None, {"x": rounded})
    [z] = session.run(None, {"x": rounded.astype(np.float32)})
    assert y.tobytes() == z.tobytes()


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "'x' is missing"),
        ({"x": X, "z": X}, "no input 'z'.*'x'"),
        ({"x": X[0]}, r"'x' is float32 \[3, 8, 6\], expected float32 \[N, 3, \?, 6\]"),
        ({"x": X[:, :2]}, "expected float32"),
        ({"x": X[:0]}, "expected float32"),
        ({"x": X.astype(complex)}, "complex128"),
        ({"x": "photo"}, "<U5"),
        ({"x": [[1.0], [1.0, 2.0]]}, "not an array"),
        ({"x": None}, "object"),
    ],
)
def test_wrong_inputs_are_named(session, inputs, words):
    with pytest.raises(ValueError, match=words) as caught:
        session.run(None, inputs)
    assert "\n" not in str(caught.value)


def test_unknown_outputs(session):
    with pytest.raises(ValueError, match=r"no output 'p'.*'y'"):
        session.run(["p"], {"x": X})


@pytest.mark.parametrize("inputs", [None, X, [X], (("x", X),), "x"])
def test_inputs_that_are_no_mapping(session, inputs):
    for call in (lambda inputs: session.run(None, inputs), session.checked_inputs):
        with pytest.raises(TypeError, match=r"^inputs is \w+: expected a mapping .*'x'") as caught:
            call(inputs)
        assert "\n" not in str(caught.value)


def test_one_output_name_is_no_list(session):
    with pytest.raises(TypeError, match="output_names is the string 'y'"):
        session.run("y", {"x": X})


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("backend", ["core", "reference"])
def test_integers_beyond_the_inputs_range(dtype, backend):
    """They would wrap; those at the ends of the range are taken, whatever their type."""
    graph = Graph(
        (ValueInfo("i", dtype, (2,)),),
        (ValueInfo("y", dtype, (2, 1)),),
        (Node("Unsqueeze", "u", ("i",), ("y",), {"axes": (1,)}),),
    )
    session = opq.Session(CompressedModel(graph, {}), backend=backend)
    limits = np.iinfo(dtype)
    beyond = [np.array([0, limits.max + 1], dtype=np.uint64)]
    if dtype == "int32":
        beyond += [np.array([0, limits.max + 1]), np.array([limits.min - 1, 0]), [0, 2**40]]
    for values in beyond:
        with pytest.raises(ValueError, match=f"input 'i' has values beyond the range of {dtype}"):
            session.run(None, {"i": values})
    for values in ([limits.min, limits.max], np.array([0, limits.max], dtype=np.uint64), np.array([-1, 1], dtype=np.int8)):
        [y] = session.run(None, {"i": values})
        assert y.dtype == dtype
        assert y[:, 0].tolist() == [int(value) for value in values]
    with pytest.raises(ValueError, match="float64"):
        session.run(None, {"i": [0.0, 1.0]})


@pytest.mark.parametrize("threads", [np.int64(2), np.uint8(2), np.array(2)], ids=repr)
def test_thread_counts_of_other_integer_types(session, threads):
    [expected] = session.run(None, {"x": X})
    other = opq.Session(small_network(), threads=threads, backend=session.backend)
    assert type(other.threads) is int
    assert other.threads == 2
    assert other.run(None, {"x": X})[0].tobytes() == expected.tobytes()
    tensor = small_network()["fc.weight"]
    assert tensor.matmul(np.ones((4, 3)), threads=threads).tobytes() == tensor.matmul(np.ones((4, 3)), threads=2).tobytes()


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2", 10**9, np.float64(2), np.True_, np.int64(0), np.array([1, 2])])
def test_wrong_thread_counts(threads):
    with pytest.raises(ValueError, match="threads"):
        opq.Session(small_network(), threads=threads)


def test_more_threads_than_cores(session):
    [expected] = session.run(None, {"x": X})
    [y] = opq.Session(small_network(), threads=33, backend=session.backend).run(None, {"x": X})
    assert y.tobytes() == expected.tobytes()


def test_sources(tmp_path):
    model = small_network()
    model.save(tmp_path / "n.opq")
    [expected] = opq.Session(model).run(None, {"x": X})
    for source in (tmp_path / "n.opq", str(tmp_path / "n.opq"), model.to_bytes(), opq.load(tmp_path / "n.opq")):
        for backend in ("core", "reference"):
            [y] = opq.Session(source, backend=backend).run(None, {"x": X})
            np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_a_file_without_a_graph_cannot_run():
    data = opq.compress({"w": np.random.default_rng(0).normal(size=(9, 9))}, bits=4).to_bytes()
    for backend in ("core", "reference"):
        with pytest.raises(opq.UnsupportedError, match="without a graph"):
            opq.Session(data, backend=backend)
    with pytest.raises(ValueError, match="backend"):
        opq.Session(data, backend="gpu")


def test_profile(session):
    session.run(None, {"x": X})
    steps = session.profile()
    if session.backend == "core":
        assert sum("c1" in step["name"] for step in steps) == 1
        assert all(step["seconds"] >= 0 for step in steps)
    else:
        assert steps == []


@pytest.mark.parametrize("backend", ["core", "reference"])
def test_an_input_without_dimensions(backend):
    graph = Graph(
        (ValueInfo("s", "float32", ()),), (ValueInfo("y", "float32", ()),), (Node("Add", "twice", ("s", "s"), ("y",)),)
    )
    [y] = opq.Session(CompressedModel(graph, {}), backend=backend).run(None, {"s": 1.5})
    assert y.shape == ()
    assert y == 3.0


@pytest.mark.skipif(not Path("/proc/self/task").exists() or available_cores() < 2, reason="Linux with two processors")
def test_workers_keep_off_the_processor_of_their_caller():
    """A thread that is woken there would wait for a time slice, milliseconds, in which the caller does all the work."""

    def masks():
        found = {}
        for task in Path("/proc/self/task").iterdir():
            status = (task / "status").read_text()
            found[task.name] = re.search(r"Cpus_allowed:\s*(\S+)", status)[1].replace(",", "")
        return found

    before = masks()
    model = small_network()
    session = opq.Session(model, threads=2)
    new = {task: mask for task, mask in masks().items() if task not in before}
    [mask] = new.values()
    assert int(mask, 16).bit_count() == available_cores() - 1
    del session
