"""Writes what fuzzing starts from: files of every operator, random graphs, ranges of activations, a compressed ONNX network;
code streams.

PYTHONPATH=tests python tools/fuzz_corpus.py build/fuzz/corpus
"""

from __future__ import annotations

import itertools
import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from networks import conv, quantized, random_codes, random_networks, small_network
from small_onnx import small_network_model

import opq
from opq import _core
from opq.compressed import CompressedModel
from opq.graph import Attribute, Dimension, Graph, Node, ValueInfo
from opq.reference.container import read_container, write_container
from opq.reference.ranges_section import rounded_range
from opq.reference.ranks import infer_rank

CODECS = ("packed", "rans0", "grouped")  # in the order of codec_input.h
LARGEST = 16384  # bytes of an input, as in fuzz.sh
Attributes = dict[str, Attribute]

POOL: Attributes = {
    "kernel_shape": (2, 2), "strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0), "auto_pad": "NOTSET", "ceil_mode": 0,
}  # fmt: skip
FLOAT, INTEGERS = ("float32",), ("float32", "int32", "int64")
N = "N"  # a free dimension

# Operator, element types, shapes of its inputs, attributes.
OPERATORS: list[tuple[str, tuple[str, ...], list[tuple[Dimension, ...]], Attributes]] = [
    ("MatMul", FLOAT, [(N, 2, 3), (3, 4)], {}),
    ("MatMul", FLOAT, [(3,), (N, 3, 9)], {}),
    ("Relu", FLOAT, [(N, 5)], {}),
    ("Sigmoid", FLOAT, [(N, 5)], {}),
    ("Tanh", FLOAT, [(N, 5)], {}),
    ("HardSwish", FLOAT, [(N, 5)], {}),
    ("LeakyRelu", FLOAT, [(N, 5)], {"alpha": 0.1}),
    ("HardSigmoid", FLOAT, [(N, 5)], {"alpha": 0.2, "beta": 0.5}),
    ("Clip", FLOAT, [(N, 5)], {"min": 0.0, "max": 6.0}),
    ("Add", INTEGERS, [(N, 3, 4), (3, 1)], {}),
    ("Sub", INTEGERS, [(N, 3), (N, 3)], {}),
    ("Mul", INTEGERS, [(N, 1), (N, 4)], {}),
    ("Div", INTEGERS, [(N, 3), ()], {}),
    ("MaxPool", FLOAT, [(N, 2, 5, 5)], POOL),
    ("MaxPool", FLOAT, [(N, 2, 7, 5)], {**POOL, "strides": (2, 3), "dilations": (2, 1), "pads": (1, 0, 1, 1), "ceil_mode": 1}),
    ("MaxPool", FLOAT, [(1, 2, N)], {**POOL, "kernel_shape": (3,), "strides": (2,), "dilations": (1,), "pads": (1, 1)}),
    ("AveragePool", FLOAT, [(N, 2, 5, 5)], {**POOL, "auto_pad": "SAME_LOWER", "count_include_pad": 0}),
    ("AveragePool", FLOAT, [(N, 2, 5, 5)], {**POOL, "strides": (2, 2), "pads": (1, 1, 1, 1), "count_include_pad": 1}),
    ("ReduceMean", FLOAT, [(N, 3, 4, 5)], {"axes": (1, 3), "keepdims": 1}),
    ("ReduceMean", FLOAT, [(N, 3, 4, 5)], {"axes": (-1, -2), "keepdims": 0}),
    ("Softmax", FLOAT, [(N, 3, 4)], {"axis": 1}),
    ("Softmax", FLOAT, [(N, 9)], {"axis": -1}),
    ("LRN", FLOAT, [(N, 5, 2, 2)], {"size": 3, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}),
    ("LRN", FLOAT, [(N, 5, 2)], {"size": 4, "alpha": 0.1, "beta": 0.5, "bias": 2.0}),
    ("Pad", INTEGERS, [(N, 3, 4)], {"pads": (0, 1, 2, 0, 2, 1), "mode": "constant", "value": 2.0}),
    ("Pad", INTEGERS, [(N, 6)], {"pads": (0, -1, 1, -2), "mode": "constant", "value": 0.0}),
    ("Pad", FLOAT, [(N, 3, 4)], {"pads": (0, 1, 2, 0, 2, 1), "mode": "edge", "value": 0.0}),
    ("Pad", FLOAT, [(N, 3, 4)], {"pads": (1, 5, 0, 1, 2, 7), "mode": "reflect", "value": 0.0}),
    ("Pad", FLOAT, [(N, 3, 4)], {"pads": (1, 5, 0, 1, 2, 7), "mode": "wrap", "value": 0.0}),
    ("Concat", INTEGERS, [(N, 2), (N, 3), (N, 1)], {"axis": 1}),
    ("Flatten", INTEGERS, [(N, 3, 4)], {"axis": 1}),
    ("Reshape", INTEGERS, [(N, 3, 4)], {"shape": (0, -1, 2), "allowzero": 0}),
    ("Squeeze", FLOAT, [(N, 1, 4)], {"axes": (1,)}),
    ("Squeeze", FLOAT, [(N, 1, 4)], {"axes": ()}),
    ("Unsqueeze", INTEGERS, [(N, 4)], {"axes": (0, -1)}),
    ("Transpose", INTEGERS, [(N, 3, 4)], {"perm": (2, 0, 1)}),
]


def operator_networks() -> Iterator[CompressedModel]:
    """Every operator by itself, and between two others, where memory is used again."""
    for op, dtypes, shapes, attributes in OPERATORS:
        names = tuple(f"x{i}" for i in range(len(shapes)))
        rank = infer_rank(Node(op, "", names, ("y",), attributes), [len(shape) for shape in shapes])
        for dtype in dtypes:
            inputs = tuple(ValueInfo(name, dtype, shape) for name, shape in zip(names, shapes))
            outputs = (ValueInfo("y", dtype, (None,) * (2 if rank is None else rank)),)
            alone = (Node(op, "n", names, ("y",), attributes),)
            between = (
                Node("Add", "add", ("x0", "x0"), ("a",)),
                Node(op, "n", ("a", *names[1:]), ("b",), attributes),
                Node("Mul", "square", ("b", "b"), ("y",)),
            )
            for nodes in (alone, between):
                yield CompressedModel(Graph(inputs, outputs, nodes), {})


def convolutions() -> Iterator[CompressedModel]:
    """Those that random networks do not draw: one spatial axis, multipliers, products that are Linear layers."""
    rng = np.random.default_rng(0)
    one_axis = {"strides": (2,), "dilations": (2,), "pads": (1, 2), "auto_pad": "NOTSET", "group": 1}
    for weight, node, x in (
        ((5, 3, 4), Node("Conv", "c", ("x", "c.weight"), ("y",), one_axis), (N, 3, 17)),
        ((6, 1, 3, 3), conv("c", "x", "y", kernel=3, group=3, strides=(2, 1), pads=(1, 1, 1, 1)), (N, 3, 6, None)),
        ((3, 1, 3, 3), conv("c", "x", "y", kernel=3, group=3, pads=(1, 1, 1, 1)), (N, 3, 5, 11)),
        ((6, 1, 3, 3), conv("c", "x", "y", kernel=3, group=3, strides=(2, 2), pads=(0, 1, 3, 2)), (N, 3, 4, None)),
        ((6, 2, 1, 1), conv("c", "x", "y", group=3, dilations=(3, 2), auto_pad="SAME_UPPER"), (N, 6, 4, None)),
        ((7, 3, 2, 4), conv("c", "x", "y"), (N, 3, 2, 4)),
        ((300, 4), Node("Linear", "c", ("x", "c.weight"), ("y",)), (N, 2, 4)),
    ):
        graph = Graph((ValueInfo("x", "float32", x),), (ValueInfo("y", "float32", (None,) * len(x)),), (node,))
        for sparsity in (0.0, 0.95):
            yield CompressedModel(graph, {"c.weight": quantized(rng, weight, 7, sparsity)})
        yield CompressedModel(graph, {"c.weight": rng.normal(size=weight).astype(np.float32)})


def tangles(count: int) -> Iterator[CompressedModel]:
    """Graphs whose values are views of one another, are read several times, and are outputs at once."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        shapes: dict[str, tuple[int, ...]] = {"x": (2, 3, 4), "z": (1, 3, 1), "c": (3, 4)}
        nodes = []
        for i in range(rng.integers(4, 16)):
            names = list(shapes)
            x, other = rng.choice(names, 2).tolist()
            shape = shapes[x]
            rank, elements, axis = len(shape), int(np.prod(shape)), int(rng.integers(len(shape)))
            perm = tuple(rng.permutation(rank).tolist())
            moved = tuple(shape[a] for a in perm)
            kept = tuple(1 if a == axis else size for a, size in enumerate(shape))
            twice = tuple(size * 2 if a == axis else size for a, size in enumerate(shape))
            choices: list[tuple[str, tuple[str, ...], Attributes, tuple[int, ...]]] = [
                ("Relu", (x,), {}, shape),
                ("Clip", (x,), {"min": -1.0, "max": 1.0}, shape),
                ("Add", (x, x), {}, shape),
                ("Transpose", (x,), {"perm": perm}, moved),
                ("Reshape", (x,), {"shape": moved, "allowzero": 1}, moved),
                ("Flatten", (x,), {"axis": 0}, (1, elements)),
                ("ReduceMean", (x,), {"axes": (axis,), "keepdims": 1}, kept),
                ("Softmax", (x,), {"axis": axis}, shape),
            ]
            if elements < 500:
                choices.append(("Concat", (x, x), {"axis": axis}, twice))
            if rank < 4:
                choices.append(("Unsqueeze", (x,), {"axes": (0,)}, (1, *shape)))
            try:
                both = np.broadcast_shapes(shape, shapes[other])
                choices += [(op, (x, other), {}, both) for op in ("Add", "Sub", "Mul") if np.prod(both) < 1000]
            except ValueError:
                pass
            op, inputs, attributes, result = choices[rng.integers(len(choices))]
            nodes.append(Node(op, f"n{i}", inputs, (f"v{i}",), attributes))
            shapes[f"v{i}"] = result
        outputs = rng.choice(list(shapes), 4, replace=False).tolist()
        graph = Graph(
            tuple(ValueInfo(name, "float32", shapes[name]) for name in ("x", "z")),
            tuple(ValueInfo(name, "float32", (None,) * len(shapes[name])) for name in outputs),
            tuple(nodes),
        )
        yield CompressedModel(graph, {"c": rng.normal(size=(3, 4)).astype(np.float32)})


def drawn_networks(count: int) -> list[CompressedModel]:
    """Random ones, the same every time."""
    models = []

    @given(random_networks())
    @settings(max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    def draw(network: tuple[CompressedModel, object]) -> None:
        models.append(network[0])

    draw()
    return models


def with_ranges(model: CompressedModel, every: int) -> CompressedModel:
    """With a range for every n-th value: the ends are 0, tiny, or large, as well as usual."""
    assert model.graph is not None
    names = [value.name for value in model.graph.inputs] + [node.outputs[0] for node in model.graph.nodes]
    ends = itertools.cycle([(-1.0, 1.0), (0.0, 6.0), (-2.5, 0.0), (-1e-40, 1e-40), (0.0, 3e38)])
    return replace(model, ranges={name: rounded_range(*next(ends)) for name in names[::every]})


def stripped(model: CompressedModel) -> bytes:
    """The file without its report, which the core does not read."""
    sections = {kind: bytes(content) for kind, content in read_container(model.to_bytes()).items()}
    return write_container({kind: content for kind, content in sections.items() if kind != b"REPT"})


def codec_inputs() -> Iterator[tuple[str, bytes]]:
    """Streams for codec_fuzzer and codes for encoder_fuzzer, behind the bytes of cpp/fuzz/codec_input.h."""
    rng = np.random.default_rng(0)
    shapes = ((1,), (9,), (3, 17), (5, 300), (4, 2, 3, 3), (300, 20, 2, 2), (70, 1000))
    for shape, levels, sparsity in itertools.product(shapes, (1, 7, 127), (0.0, 0.8, 1.0)):
        codes = random_codes(rng, shape, levels, sparsity)
        kernel = codes[0, 0].size if codes.ndim == 4 and codes[0, 0].size > 3 else 0
        layout = bytes([kernel - 3 if kernel else 0, min(255, codes[0].size // max(1, kernel) - 1)])
        count = struct.pack("<I", codes.size - 1)[:3]
        for number, codec in enumerate(CODECS):
            head = bytes([number, levels - 1, 0]) + count + layout
            yield "codec", head + _core.encode_codes(codes, levels, codec)
            yield "encoder", head + codes.tobytes()
        for number, dtype in enumerate((np.int8, np.int16, np.int32, np.uint8, np.uint16)):
            integers = (np.abs(codes.astype(np.int32)) * rng.integers(1, 1000)).astype(dtype)
            head = bytes([len(CODECS), 0, number]) + count + layout
            yield "codec", head + _core.encode_integers(integers, 1)
            yield "encoder", head + integers.tobytes()


def main(folder: Path) -> None:
    """Write all corpora: one folder per target."""
    models = [small_network(), *operator_networks(), *convolutions(), *tangles(60), *drawn_networks(60)]
    models += [with_ranges(model, every) for model in (small_network(), *drawn_networks(10)) for every in (1, 2)]
    models.append(opq.compress(opq.load_onnx(small_network_model()), ratio=20))
    files = [stripped(model) for model in models] + [small_network().to_bytes()]
    inputs = [(target, file) for target in ("container", "network") for file in files] + list(codec_inputs())
    for i, (target, data) in enumerate(inputs):
        if len(data) <= LARGEST:
            (folder / target).mkdir(parents=True, exist_ok=True)
            (folder / target / f"seed{i:04}").write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
