"""What a small file or a few inputs can ask for: refused in one line, before memory is taken for it."""

import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from networks import conv, quantized

import opq
from opq import _core
from opq.compressed import CompressedModel, from_bytes
from opq.graph import Graph, Node, ValueInfo
from opq.quantization import QuantizedTensor
from opq.reference import container
from opq.reference.graph_section import write_graph


def network(nodes, shape, outputs=(("y", 4),), tensors=None):
    """A model with the input x of `shape` and outputs of these names and ranks."""
    infos = tuple(ValueInfo(name, "float32", (None,) * rank) for name, rank in outputs)
    return CompressedModel(Graph((ValueInfo("x", "float32", shape),), infos, tuple(nodes)), tensors or {})


def core_run(model, shape, outputs=("y",), threads=1):
    session = _core.Session(model.network, threads)
    return session, session.run({"x": np.ones(shape, np.float32)}, list(outputs))


def pool(op, kernel, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), ceil_mode=0, auto_pad="NOTSET"):
    attributes = {
        "kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads, "auto_pad": auto_pad,
        "ceil_mode": ceil_mode,
    }  # fmt: skip
    if op == "AveragePool":
        attributes["count_include_pad"] = 1
    return Node(op, "pool", ("x",), ("y",), attributes)


# --- files ----------------------------------------------------------------------------------------------------------------


def one_symbol_stream(count):
    """rans0: `count` times the code 1, one lane, 8 bytes for each 2^18."""
    chunks = -(-count // (1 << 18))
    frequencies = bytes([0, 0, 0x80, 4096 >> 7])
    return frequencies + b"\1" + struct.pack(f"<{chunks}I", *[4] * chunks) + struct.pack("<I", 1 << 16) * chunks


def file_of_one_symbol(shapes, graph=None):
    """Tensors w0, w1, ... of these shapes, all codes 1, in a few hundred bytes each."""
    directory, payloads = [struct.pack("<I", len(shapes))], []
    for i, shape in enumerate(shapes):
        payloads.append(one_symbol_stream(int(np.prod(shape))))
        name = f"w{i}".encode()
        directory.append(struct.pack("<H", len(name)) + name + bytes([1, 2, len(shape), 0]))
        directory.append(struct.pack(f"<{len(shape)}QQ", *shape, len(payloads[-1])) + struct.pack("<fHBB", 1.0, 1, 255, 0))
    sections = {b"TENS": b"".join(directory), b"DATA": b"".join(payloads)}
    if graph is not None:
        sections[b"GRPH"] = write_graph(graph)
    return container.write_container(sections)


def test_the_elements_of_all_streams_are_bounded():
    """2^24 each may be, 2^25 together may not."""
    _core.Network(file_of_one_symbol([(1 << 24,)]))
    data = file_of_one_symbol([(1 << 24,), (1 << 24,)])
    assert len(data) < 2000
    for read in (from_bytes, _core.Network):
        with pytest.raises(opq.FormatError):
            read(data)


# Loads the file from standard input with so much memory left, and prints what came of it.
LOAD = """
import resource, sys
from opq import _core, errors
data = sys.stdin.buffer.read()
with open("/proc/self/status") as status:
    now = next(int(line.split()[1]) for line in status if line.startswith("VmSize")) << 10
resource.setrlimit(resource.RLIMIT_AS, (now + int(sys.argv[1]),) * 2)
try:
    _core.Network(data)
    print("loaded")
except errors.UnsupportedError as error:
    print(error)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads its own memory from /proc")
@pytest.mark.parametrize(
    ("shape", "node", "answer"),
    [
        # One output channel for each input channel: the weights are kept as floats.
        ((1 << 20, 1, 4, 4), conv("w0", "x", "y", group=1 << 20), "loaded"),
        # One row is padded to 8.
        ((1, 1 << 24), Node("Linear", "n", ("x", "w0"), ("y",)), "too large for their file"),
        # Groups of one row and two columns: lists of rows for each.
        ((1 << 23, 2, 1, 1), conv("w0", "x", "y", group=1 << 23), "too large for their file"),
        # A kernel of 2^24 taps.
        ((1, 1, 1, 1 << 24), conv("w0", "x", "y"), "loaded"),
    ],
)
def test_a_small_file_loads_into_little_memory(shape, node, answer):
    """2^24 codes are 64 MiB as floats: a few times that is enough for each layout of the kernels."""
    node = Node(node.op, node.name, ("x", "w0"), node.outputs, node.attributes)
    graph = Graph(
        (ValueInfo("x", "float32", (None,) * len(shape)),), (ValueInfo("y", "float32", (None,) * len(shape)),), (node,)
    )
    data = file_of_one_symbol([shape], graph)
    assert len(data) < 2000
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(
        [sys.executable, "-c", LOAD, str(200 << 20)], input=data, env=environment, capture_output=True, check=False
    )
    assert answer in result.stdout.decode(), result.stderr.decode()


def test_one_weight_in_many_nodes():
    """Each node with other strides packs it anew."""
    weight = QuantizedTensor(np.ones((256, 256, 2, 2), np.int8), 1.0, 1, None, None)
    nodes = [Node("Relu", "r", ("x",), ("y",))]
    nodes += [
        Node("Conv", f"c{i}", ("x", "w"), (f"y{i}",), conv("w", "x", "y", strides=(1 + i, 1)).attributes) for i in range(200)
    ]
    few = network(nodes[:6], (1, 256, 300, 2), tensors={"w": weight})
    assert few.network.packed_bytes > 5 * weight.codes.size
    with pytest.raises(opq.UnsupportedError, match="too large for their file"):
        _ = network(nodes, (1, 256, 300, 2), tensors={"w": weight}).network


def test_a_network_with_few_weights_left_is_written_and_read():
    """One stream of zeros would be too short for so many elements; the writer sees to that."""
    zeros = {f"w{i}": QuantizedTensor(np.zeros((1 << 11, 1 << 12), np.int8), 1.0, 1, None, None) for i in range(3)}
    zeros["one"] = QuantizedTensor(np.zeros((1 << 12, 5000), np.int8), 1.0, 1, None, None)
    data = CompressedModel(None, zeros).to_bytes()
    assert len(data) < sum(tensor.codes.size for tensor in zeros.values()) // 4
    assert {name: tensor.codes.shape for name, tensor in from_bytes(data).items()} == {
        name: tensor.codes.shape for name, tensor in zeros.items()
    }
    _core.Network(data)


# --- inputs ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "node",
    [
        pool("MaxPool", (1, 1), strides=(1, 1 << 29), pads=(0, 1 << 30, 0, 0)),
        pool("AveragePool", (1, 1 << 20), pads=(1 << 20, 1 << 20, 1 << 20, 1 << 20), strides=(1 << 20, 1)),
        pool("MaxPool", (1, 2), dilations=(1, 1 << 30), auto_pad="SAME_UPPER"),
        conv("c", "x", "y", dilations=(1 << 29, 1), pads=(1 << 28, 0, 1 << 28, 0)),
        conv("c", "x", "y", strides=(1 << 14, 1 << 14), pads=(1 << 14,) * 4),
    ],
)
def test_padding_out_of_proportion(node):
    model = network([node], (1, 1, 2, 2), tensors={"c.weight": np.ones((1, 1, 2, 1), np.float32)})
    with pytest.raises(opq.UnsupportedError, match=r"its padding makes \d+ elements of an x of shape \[1, 1, 2, 2\]"):
        core_run(model, (1, 1, 2, 2))


def test_far_dilated_kernels_over_small_images_are_ordinary():
    rng = np.random.default_rng(0)
    weight = quantized(rng, (4, 2048, 3, 3), 7, 0.9)
    node = conv("c", "x", "y", kernel=3, dilations=(36, 36), pads=(36, 36, 36, 36))
    _, [y] = core_run(network([node], (1, 2048, 8, 8), tensors={"c.weight": weight}), (1, 2048, 8, 8))
    assert y.shape == (1, 4, 8, 8)


def test_a_window_far_larger_than_its_input_takes_little_memory():
    model = network([pool("MaxPool", (1, 1 << 22), pads=(0, 1 << 22, 0, 0))], (1, 1, 1, 4))
    session, [y] = core_run(model, (1, 1, 1, 4))
    assert (y == 1).sum() == 4
    assert session.arena_bytes < 200 << 20


def test_a_convolution_with_many_rows_takes_little_memory():
    """Partial sums are kept for the rows of one part only."""
    rows = 1 << 16
    weight = QuantizedTensor(np.ones((rows, 256, 1, 1), np.int8), 1.0, 1, None, None)
    sparse = weight.codes.copy()
    sparse[:, ::2] = 0
    for codes in (weight.codes, sparse):
        model = network(
            [conv("c", "x", "y")], (1, 256, 1, None), tensors={"c.weight": QuantizedTensor(codes, 1.0, 1, None, None)}
        )
        session, [y] = core_run(model, (1, 256, 1, 2))
        np.testing.assert_array_equal(y, np.broadcast_to(codes.sum(axis=1, dtype=np.float32)[None], y.shape))
        assert session.arena_bytes < y.nbytes + (8 << 20)


def test_values_of_too_many_elements():
    outer = Node("MatMul", "outer", ("x", "t"), ("y",))
    model = network([Node("Transpose", "t", ("x",), ("t",), {"perm": (1, 0)}), outer], (None, 1), outputs=[("y", 2)])
    with pytest.raises(ValueError, match=r"MatMul node outer: .* more than 2\^31 - 1 elements"):
        core_run(model, (1 << 16, 1))


def test_a_network_that_doubles_its_input_again_and_again():
    nodes = [Node("Concat", f"c{i}", (f"v{i}",) * 2, (f"v{i + 1}",), {"axis": 0}) for i in range(30)]
    model = network([Node("Relu", "r", ("x",), ("v0",)), *nodes], (1,), outputs=[("v30", 1), ("v20", 1)])
    with pytest.raises(ValueError, match=r"needs \d+\.\d GB of memory"):
        core_run(model, (1,), ["v30"])
    session = _core.Session(model.network, 1)
    assert session.profile() == []
    x = {"x": np.ones(1, np.float32)}
    with pytest.raises(ValueError, match="GB of memory"):
        session.run(x, ["v20"])
    # Nothing has run yet, and nothing is kept.
    assert session.profile() == []
    assert session.arena_bytes == 0


def test_results_asked_for_again_and_again():
    model = network([Node("Relu", "r", ("x",), ("y",))], (None,), outputs=[("y", 1)])
    x = np.ones(1 << 22, np.float32)
    session = _core.Session(model.network, 1)
    assert len(session.run({"x": x}, ["y"] * 3)) == 3
    with pytest.raises(ValueError, match="GB of memory"):
        session.run({"x": x}, ["y"] * 10_000)


def test_the_profile_is_that_of_the_last_run_that_succeeded():
    model = network([Node("Concat", "c", ("x",) * 200, ("y",), {"axis": 0})], (None,), outputs=[("y", 1)])
    session = _core.Session(model.network, 1)
    session.run({"x": np.ones(3, np.float32)}, ["y"])
    with pytest.raises(ValueError, match=r"2\^31 - 1"):
        session.run({"x": np.ones(1 << 24, np.float32)}, ["y"])
    assert [step["shape"] for step in session.profile()] == [(600,)]


def test_many_values_and_inputs():
    """Placing values in memory and finding inputs by name: neither compares each one with each other one."""
    count = 30_000
    nodes = [Node("Transpose", f"t{i}", ("x",), (f"t{i}",), {"perm": (1, 0)}) for i in range(count)]
    even = [f"t{i}" for i in range(0, count, 2)]
    nodes += [Node("Concat", f"c{i}", tuple(even[i : i + 200]), (f"c{i}",), {"axis": 0}) for i in range(0, len(even), 200)]
    nodes += [Node("Concat", f"b{i}", ("x", "x"), (f"b{i}",), {"axis": 0}) for i in range(count // 2)]
    outputs = [(f"t{i}", 2) for i in range(1, count, 2)] + [(f"b{i}", 2) for i in range(count // 2)]
    session, [first, last] = core_run(network(nodes, (4, 4), outputs), (4, 4), ["t1", f"b{count // 2 - 1}"])
    assert first.shape == (4, 4)
    assert last.shape == (8, 4)
    # Half of the gaps are too small for what follows; more than twice the live values is never needed.
    assert session.arena_bytes < 2 * 64 * (count // 2 + 2 * count // 2 + 400)

    infos = tuple(ValueInfo(f"x{i}", "float32", (1,)) for i in range(count))
    graph = Graph(infos, (ValueInfo("y", "float32", (1,)),), (Node("Relu", "r", (f"x{count - 1}",), ("y",)),))
    inputs = {f"x{i}": np.full(1, i, np.float32) for i in range(count)}
    [y] = _core.Session(CompressedModel(graph, {}).network, 1).run(inputs, ["y"])
    assert y == count - 1


def test_ranks_that_only_the_inputs_show_are_the_callers_fault():
    """Behind a Squeeze of every axis of size 1 a Transpose of two axes fits [1, 3, 4] but not [1, 3, 1]."""
    nodes = (
        Node("Squeeze", "s", ("x",), ("q",), {"axes": ()}),
        Node("Transpose", "t", ("q",), ("y",), {"perm": (1, 0)}),
    )
    model = network(nodes, (1, None, None), outputs=[("y", 2)])
    for backend in ("core", "reference"):
        session = opq.Session(model, backend=backend)
        assert session.run(None, {"x": np.ones((1, 3, 4))})[0].shape == (4, 3)
        with pytest.raises(ValueError, match="perm") as caught:
            session.run(None, {"x": np.ones((1, 3, 1))})
        assert caught.type is ValueError  # not a FormatError, which is one, too


# --- arguments of the compiled module -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"x": "photo"}, "input x is not an array"),
        ({"x": [1.0]}, "not an array"),
        ({3: np.ones(1, np.float32)}, "string"),
        ({"\ud800": np.ones(1, np.float32)}, "surrogates"),
    ],
)
def test_inputs_that_are_no_arrays(inputs, words):
    model = network([Node("Relu", "r", ("x",), ("y",))], (1,), outputs=[("y", 1)])
    with pytest.raises(ValueError, match=words):
        _core.Session(model.network, 1).run(inputs, ["y"])


@pytest.mark.parametrize("columns", [0, 3])
def test_a_matrix_product_needs_a_thread(columns):
    matrix = _core.Matrix(np.ones((2, 2), np.int8), np.ones(2, np.float32), False)
    for threads in (0, -1, 1025):
        with pytest.raises(ValueError, match="threads"):
            matrix.matmul(np.ones((2, columns), np.float32), threads)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts its own threads in /proc")
def test_matrix_products_keep_few_idle_threads():
    q = quantized(np.random.default_rng(0), (300, 20), 7, 0.5)
    before = len(os.listdir("/proc/self/task"))
    for threads in range(2, 34):
        q.matmul(np.ones((20, 500), np.float32), threads=threads)
    assert len(os.listdir("/proc/self/task")) - before < 4 * 33
