"""Matrices of more codes than are decoded at once: read a few rows at a time, by chunks that do not end where rows do."""

import re

import numpy as np
import pytest
from networks import quantized

import opq
from opq import _core
from opq.compressed import CompressedModel
from opq.graph import Graph, Node, ValueInfo
from opq.reference.container import read_container, write_container

ROWS, DEPTH = 1027, 1301  # 6 chunks of 2^18 codes


def network():
    """Two Linear nodes that share one weight."""
    rng = np.random.default_rng(0)
    nodes = (
        Node("Linear", "f", ("x", "f.weight"), ("y",)),
        Node("Relu", "r", ("x",), ("p",)),
        Node("Linear", "g", ("p", "f.weight"), ("z",)),
    )
    outputs = tuple(ValueInfo(name, "float32", ("N", ROWS)) for name in "yz")
    graph = Graph((ValueInfo("x", "float32", ("N", DEPTH)),), outputs, nodes)
    return CompressedModel(graph, {"f.weight": quantized(rng, (ROWS, DEPTH), 7, 0.5)})


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("precision", "kernel"),
    [("float32", "sparse"), ("float32", "dense"), ("int8", "sparse"), ("int8", "dense"), ("int8", "4-bit"), ("int16", "dense")],
)
def test_every_kernel_is_packed_from_the_same_codes(precision, kernel, threads):
    model = network()
    x = np.random.default_rng(1).normal(size=(2, DEPTH)).astype(np.float32)
    session = opq.Session(model, precision=precision, threads=threads, kernels={"f": kernel})
    codes = model["f.weight"]
    expected = opq.Session(model, precision=precision, backend="reference").run(None, {"x": x})
    for y, z in zip(session.run(None, {"x": x}), expected, strict=True):
        if precision == "float32":
            np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-3)
        else:
            assert y.tobytes() == z.tobytes()
    assert session.plan()[0]["kernel"] == kernel
    session.run(None, {"x": x})
    assert {step["nonzeros"] for step in session.profile() if step["nonzeros"]} == {np.count_nonzero(codes.codes)}


def test_damage_in_a_late_chunk_names_the_tensor():
    sections = {kind: bytes(content) for kind, content in read_container(network().to_bytes(), _core.crc32c).items()}
    data = bytearray(sections[b"DATA"])
    data[-6000:-5000] = bytes(1000)  # of the last chunks: there is one tensor, and they come last
    with pytest.raises(opq.FormatError, match=re.escape("f.weight")):
        opq.Session(write_container({**sections, b"DATA": bytes(data)}, _core.crc32c))
