"""Sessions of integer precision in the core: equal to the reference in every bit."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_sets import instruction_set
from networks import conv, depthwise_networks, quantized, random_networks

import opq
from opq import _core
from opq.graph import Graph, Node, ValueInfo
from opq.quantization import QuantizedTensor
from opq.reference import execution
from opq.reference.integer import execution as integer_execution
from opq.reference.integer.quantized import range_of
from opq.reference.ranges_section import Range, rounded_range

PRECISIONS = st.sampled_from(["int8", "int16"])
ISAS = st.sampled_from(_core.supported_isas())


def reference(model, precision, x):
    """All outputs, by the definition."""
    return integer_execution.run(model.graph, model.tensors, model.ranges, precision, {"x": x})


def core(model, precision, x, threads=1):
    """All outputs, by the core."""
    return opq.Session(model, precision=precision, threads=threads).run(None, {"x": x})


def core_on(isa, model, precision, x, threads=1):
    """Likewise, with one instruction set."""
    with instruction_set(isa):
        return core(model, precision, x, threads)


def assert_same_bits(got, expected):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def with_ranges(model, x, names):
    """The model with the ranges that these values have on x."""
    values = execution.run(model.graph, model.tensors, {"x": x}, names)
    ranges = {}
    for name, value in zip(names, values, strict=True):
        lo, hi = range_of(value)
        ranges[name] = rounded_range(0.9 * lo, 0.9 * hi)  # what is beyond them is clipped
    return dataclasses.replace(model, ranges=ranges)


@st.composite
def exact_networks(draw):
    """(model, input): random networks in which whatever is float32 is one rounding at a time, so that the core's bits are
    defined: layers are coded, activations piecewise linear, and means are of values that are held."""
    model, x = draw(random_networks())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    nodes, needed = [], set()
    for node in model.graph.nodes:
        if node.op in ("Sigmoid", "Tanh", "HardSwish", "HardSigmoid"):
            node = dataclasses.replace(node, op="Relu", attributes={})
        if node.op == "AveragePool":
            needed.add(node.inputs[0])
        nodes.append(node)
    tensors = {
        name: quantized(rng, tensor.shape, 15, 0.3) if name.endswith("weight") and isinstance(tensor, np.ndarray) else tensor
        for name, tensor in model.tensors.items()
    }
    model = opq.CompressedModel(dataclasses.replace(model.graph, nodes=tuple(nodes)), tensors)
    share = draw(st.sampled_from([0.0, 0.5, 1.0, 1.0]))
    names = ["x", *(node.outputs[0] for node in nodes)]
    return with_ranges(model, x, [name for name in names if name in needed or rng.random() < share]), x


@given(exact_networks(), PRECISIONS, st.sampled_from([1, 2, 3]))
def test_random_networks_give_the_bits_of_the_reference(drawn, precision, threads):
    model, x = drawn
    assert_same_bits(core(model, precision, x, threads), reference(model, precision, x))


@given(exact_networks(), PRECISIONS)
def test_every_instruction_set_gives_the_same_bits(drawn, precision):
    model, x = drawn
    expected = core(model, precision, x)
    for isa in _core.supported_isas():
        assert_same_bits(core_on(isa, model, precision, x), expected)


def one_conv(rng, channels, rows, kernel, levels, sparsity, size, held, group=1):
    """conv + residual + Relu between values that are held, or none is."""
    tensors = {
        "c.weight": quantized(rng, (rows, channels // group, kernel, kernel), levels, sparsity),
        "c.bias": rng.normal(size=rows).astype(np.float32),
    }
    pad = kernel // 2
    nodes = [conv("c", "x", "a", "", "c.bias", kernel=kernel, pads=(pad, pad, pad, pad), group=group)]
    if rows == channels:
        nodes.append(Node("Add", "add", ("a", "x"), ("b",)))
    nodes.append(Node("Relu", "relu", (nodes[-1].outputs[0],), ("d",)))
    window = {"kernel_shape": (3, 3), "strides": (2, 2), "dilations": (1, 1), "pads": (1, 1, 1, 1)}
    nodes.append(Node("MaxPool", "pool", ("d",), ("y",), {**window, "auto_pad": "NOTSET", "ceil_mode": 0}))
    graph = Graph(
        (ValueInfo("x", "float32", ("N", channels, *size)),),
        (ValueInfo("y", "float32", (None, rows, None, None)), ValueInfo("d", "float32", (None, rows, *size))),
        tuple(nodes),
    )
    model = opq.CompressedModel(graph, tensors)
    x = rng.normal(size=(2, channels, *size)).astype(np.float32)
    return with_ranges(model, x, ["x", "d"] if held else []), x


@pytest.mark.parametrize("precision", ["int8", "int16"])
@pytest.mark.parametrize("held", [True, False], ids=["held", "by_image"])
@pytest.mark.parametrize(
    ("channels", "rows", "kernel", "levels", "sparsity", "group"),
    [
        (64, 64, 1, 7, 0.9, 1),
        (600, 600, 1, 7, 0.5, 1),  # several blocks of depth, with residual
        (1300, 20, 1, 127, 0.0, 1),  # many segments in a row
        (40, 33, 3, 7, 0.8, 1),
        (8, 8, 3, 127, 0.0, 8),  # depthwise, codes of 8 bits
        (6, 12, 5, 7, 0.2, 6),  # depthwise, two outputs per channel
        (3, 16, 7, 7, 0.0, 1),
    ],
)
@pytest.mark.parametrize("size", [(7, 7), (14, 15), (30, 29), (3, 70)])
def test_layers_of_real_shapes(precision, held, channels, rows, kernel, levels, sparsity, group, size):
    model, x = one_conv(np.random.default_rng(0), channels, rows, kernel, levels, sparsity, size, held, group)
    expected = reference(model, precision, x)
    for threads in (1, 2):
        assert_same_bits(core(model, precision, x, threads), expected)


@given(depthwise_networks(), st.sampled_from([["x", "y"], ["x", "y"], ["x"], []]), PRECISIONS, ISAS, st.sampled_from([1, 3]))
def test_depthwise_layers(drawn, held, precision, isa, threads):
    model, x = drawn
    model = with_ranges(model, x, held)
    assert_same_bits(core_on(isa, model, precision, x, threads), reference(model, precision, x))


@st.composite
def max_pools(draw):
    """(model, input): one MaxPool of any geometry; x and y are held on one grid, or float32."""
    small = st.integers(1, 3)
    kernel = draw(st.sampled_from([(3, 3), (3, 3), (2, 2), (1, 4), (5, 1)]))
    strides, dilations = draw(st.tuples(small, small)), draw(st.tuples(small, small))
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    size = draw(st.tuples(*(st.integers(span, span + most) for span, most in zip(spans, (20, 150), strict=True))))
    pads = tuple(draw(st.integers(0, k - 1)) for k in (*kernel, *kernel))
    window = {
        "kernel_shape": kernel,
        "strides": strides,
        "dilations": dilations,
        "pads": pads,
        "ceil_mode": draw(st.integers(0, 1)),
    }
    channels = draw(st.integers(1, 20))
    graph = Graph(
        (ValueInfo("x", "float32", ("N", channels, *size)),),
        (ValueInfo("y", "float32", (None,) * 4),),
        (Node("MaxPool", "pool", ("x",), ("y",), {**window, "auto_pad": "NOTSET"}),),
    )
    x = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).normal(size=(2, channels, *size)).astype(np.float32)
    held = draw(st.sampled_from([{}, {"x": Range(-2.0, 2.0), "y": Range(-2.0, 2.0)}]))
    return opq.CompressedModel(graph, {}, ranges=held), x


@given(
    st.lists(st.sampled_from([None, 1.0, 2.0]), min_size=1, max_size=3), st.sampled_from([0, 1, 2, -1]), st.integers(1, 2000),
    st.integers(0, 2**32 - 1), PRECISIONS, ISAS, st.sampled_from([1, 3]),
)  # fmt: skip
def test_parts_of_any_grid_are_put_together_on_that_of_the_output(ends, axis, width, seed, precision, isa, threads):
    """Of three views of x: one held on a range of its own, on that of the output, or not at all."""
    rng = np.random.default_rng(seed)
    shape = (2, int(rng.integers(1, 4)), width)
    nodes = [Node("LeakyRelu", f"t{i}", ("x",), (f"v{i}",), {"alpha": 0.25}) for i in range(len(ends))]
    nodes.append(Node("Concat", "c", tuple(f"v{i}" for i in range(len(ends))), ("y",), {"axis": axis}))
    graph = Graph((ValueInfo("x", "float32", shape),), (ValueInfo("y", "float32", (None,) * 3),), tuple(nodes))
    ranges = {f"v{i}": Range(-end / 2, end) for i, end in enumerate(ends) if end is not None}
    model = opq.CompressedModel(graph, {}, ranges={**ranges, "y": Range(-1.0, 2.0)})
    x = rng.normal(size=shape).astype(np.float32)
    assert_same_bits(core_on(isa, model, precision, x, threads), reference(model, precision, x))


@given(
    st.sampled_from(["Add", "Sub", "Mul", "Div", "Add Relu", "Add Clip", "Relu", "Clip", "LeakyRelu"]),
    st.sets(st.sampled_from(["a", "b", "y"])), st.sampled_from([(3, 5), (1, 5), (3, 1)]), st.booleans(),
    st.integers(1, 2000), st.integers(0, 2**32 - 1), PRECISIONS, ISAS, st.sampled_from([1, 3]),
)  # fmt: skip
def test_functions_of_single_elements(function, held, other, one_for_all, width, seed, precision, isa, threads):
    """Of values of one shape, or with broadcasting, each held or not."""
    rng = np.random.default_rng(seed)
    first, *then = function.split()
    operands = ("ab" if seed % 2 == 0 else "ba") if first in ("Add", "Sub", "Mul", "Div") else "a"
    attributes = {"LeakyRelu": {"alpha": 0.25}, "Clip": {"min": -0.5, "max": 0.5}}
    nodes = [Node("LeakyRelu", f"l{b}", (a,), (b,), {"alpha": 0.5}) for a, b in (("x", "a"), ("z", "b"))]
    nodes.append(Node(first, "f", tuple(operands), ("s" if then else "y",), attributes.get(first, {})))
    nodes += [Node(op, "g", ("s",), ("y",), attributes.get(op, {})) for op in then]
    inputs = {"x": rng.normal(size=(3, 5, width)), "z": rng.normal(size=(*other, 1 if one_for_all else width))}
    inputs = {name: array.astype(np.float32) for name, array in inputs.items()}
    infos = tuple(ValueInfo(name, "float32", array.shape) for name, array in inputs.items())
    graph = Graph(infos, (ValueInfo("y", "float32", (None,) * 3),), tuple(nodes))
    ranges = {"a": Range(-1.0, 1.0), "b": Range(-1.0, 0.5), "y": Range(-1.0, 2.0)}
    model = opq.CompressedModel(graph, {}, ranges={name: ranges[name] for name in held})
    expected = integer_execution.run(graph, {}, model.ranges, precision, inputs)
    with instruction_set(isa):
        got = opq.Session(model, threads=threads, precision=precision).run(None, inputs)
    assert_same_bits(got, expected)


@pytest.mark.parametrize("isa", _core.supported_isas())
@pytest.mark.parametrize("held", [True, False])
def test_max_pool_with_a_phase_of_padding_alone(isa, held):
    graph = Graph(
        (ValueInfo("x", "float32", ("N", 2, 1, 1)),),
        (ValueInfo("y", "float32", (None,) * 4),),
        (
            Node("MaxPool", "pool", ("x",), ("y",), {
                "kernel_shape": (2, 2), "strides": (2, 2), "dilations": (1, 1), "pads": (0, 0, 1, 1), "ceil_mode": 0,
                "auto_pad": "NOTSET",
            }),
        ),
    )  # fmt: skip
    ranges = {"x": Range(-2.0, 2.0), "y": Range(-2.0, 2.0)} if held else {}
    model, x = opq.CompressedModel(graph, {}, ranges=ranges), np.float32([[[[-0.5]], [[1.0]]]])
    assert_same_bits(core_on(isa, model, "int8", x), reference(model, "int8", x))


@given(max_pools(), PRECISIONS, ISAS, st.sampled_from([1, 3]))
def test_max_pools(drawn, precision, isa, threads):
    model, x = drawn
    assert_same_bits(core_on(isa, model, precision, x, threads), reference(model, precision, x))


@pytest.mark.parametrize("precision", ["int8", "int16"])
@pytest.mark.parametrize("stride", [1, 2])
def test_threads_that_fill_neighbouring_channels_do_not_disturb_each_other(precision, stride):
    """Without padding, whose zeros would hide what is written too far behind a channel."""
    rng = np.random.default_rng(6)
    tensors = {"c.weight": quantized(rng, (8, 192, 3, 3), 7, 0.9)}
    graph = Graph(
        (ValueInfo("x", "float32", ("N", 192, 41, 43)),),
        (ValueInfo("y", "float32", (None, 8, None, None)),),
        (conv("c", "x", "y", kernel=3, strides=(stride, stride)),),
    )
    x = rng.normal(size=(1, 192, 41, 43)).astype(np.float32)
    model = with_ranges(opq.CompressedModel(graph, tensors), x, ["x"])
    expected = core(model, precision, x)
    session = opq.Session(model, precision=precision, threads=3)
    for _ in range(30):
        assert_same_bits(session.run(None, {"x": x}), expected)


@pytest.mark.parametrize("precision", ["int8", "int16"])
@pytest.mark.parametrize("held", [True, False], ids=["held", "by_image"])
@pytest.mark.parametrize("shape", [(1200,), (3, 700)], ids=["rows", "batch_of_rows"])
def test_linear_layers(precision, held, shape):
    rng = np.random.default_rng(1)
    tensors = {
        "fc.weight": quantized(rng, (131, shape[-1]), 127, 0.3),
        "fc.bias": rng.normal(size=131).astype(np.float32),
        "fc2.weight": quantized(rng, (131, 131), 7, 0.9, channel_scales=False),
    }
    nodes = (
        Node("Linear", "fc", ("x", "fc.weight", "", "fc.bias"), ("a",)),
        Node("Relu", "relu", ("a",), ("b",)),
        Node("Linear", "fc2", ("b", "fc2.weight"), ("c",)),
        Node("Add", "add", ("b", "c"), ("y",)),
    )
    outputs = (ValueInfo("y", "float32", ("N", *shape[:-1], 131)),)
    model = opq.CompressedModel(Graph((ValueInfo("x", "float32", ("N", *shape)),), outputs, nodes), tensors)
    x = rng.normal(size=(3, *shape)).astype(np.float32)
    model = with_ranges(model, x, ["x", "b", "y"] if held else [])
    assert_same_bits(core(model, precision, x), reference(model, precision, x))


def test_values_that_are_no_numbers():
    rng = np.random.default_rng(2)
    model, x = one_conv(rng, 5, 5, 3, 7, 0.2, (6, 6), True)
    x[0, 0, 0] = [np.nan, np.inf, -np.inf, 3e38, -3e38, -0.0]
    for ranges in (model.ranges, {}, {"x": Range(0.0, 1e38)}, {"x": Range(-1e-38, 1e-38), "d": Range(0.0, 3e38)}):
        for precision in ("int8", "int16"):
            changed = dataclasses.replace(model, ranges=ranges)
            assert_same_bits(core(changed, precision, x), reference(changed, precision, x))


def test_a_scale_that_is_no_number():
    rng = np.random.default_rng(3)
    model, x = one_conv(rng, 4, 6, 1, 7, 0.2, (5, 5), True)
    model.tensors["c.bias"][:3] = [np.inf, -np.inf, np.nan]
    assert_same_bits(core(model, "int8", x), reference(model, "int8", x))


def test_integers_keep_no_intermediate_values():
    model, _ = one_conv(np.random.default_rng(4), 4, 6, 1, 7, 0.2, (5, 5), True)
    with pytest.raises(ValueError, match="float32 only"):
        _core.Session(model.network_of("int8"), 1, keep_all=True)
    with pytest.raises(ValueError, match="precision is int4"):
        _core.Network(model.to_bytes(), 1, "int4")


def test_precisions_of_one_model_side_by_side(tmp_path):
    model, x = one_conv(np.random.default_rng(5), 16, 16, 3, 7, 0.7, (9, 9), True)
    model.save(tmp_path / "n.opq")
    for precision in ("float32", "int16", "int8"):
        a, b = (opq.Session(source, precision=precision) for source in (model, tmp_path / "n.opq"))
        assert_same_bits(a.run(None, {"x": x}), b.run(None, {"x": x}))
    exact = reference(model, "int16", x)[0]
    assert np.abs(opq.Session(model).run(None, {"x": x})[0] - exact).max() < 1e-2 * np.abs(exact).max()


@pytest.mark.parametrize("isa", _core.supported_isas())
@given(
    largest=st.sampled_from([1, 2, 7, 8, 15, 31, 64, 65, 127]), outliers=st.sampled_from([0.0, 0.003, 0.05]),
    channels=st.sampled_from([3, 16, 130]), rows=st.integers(1, 9), group=st.sampled_from([1, 1, 2]), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=40)
def test_dense_codes_of_any_size_are_exact(isa, largest, outliers, channels, rows, group, seed):
    """What quad_split.cpp cuts off, and turns of many lengths: with inputs of 255 and codes of one sign, sums in 16 bits are as
    large as they can be."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-largest, largest + 1, (group * rows, channels, 3, 3))
    if seed % 3 == 0:
        codes = np.abs(codes)
    elif seed % 3 == 1:
        codes = np.full_like(codes, -largest)
    codes = np.where(rng.random(codes.shape) < outliers, rng.choice([-127, 65, 127], codes.shape), codes).astype(np.int8)
    weight = QuantizedTensor(codes, 0.01, 127)
    graph = Graph(
        (ValueInfo("x", "float32", ("N", group * channels, 7, 9)),),
        (ValueInfo("y", "float32", ("N", group * rows, 5, 7)),),
        (conv("c", "x", "y", kernel=3, group=group),),
    )
    compressed = opq.CompressedModel(graph, {"c.weight": weight}, ranges={"x": Range(0.0, 255.0)})
    x = np.where(rng.random((1, group * channels, 7, 9)) < 0.8, 255, rng.integers(0, 256, (1, group * channels, 7, 9)))
    x = x.astype(np.float32)
    with instruction_set(isa):
        session = opq.Session(compressed, precision="int8", threads=1, kernels={"c": "dense"})
        assert session.instruction_set == isa
        got = session.run(None, {"x": x})
    assert_same_bits(got, reference(compressed, "int8", x))
