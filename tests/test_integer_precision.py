"""Sessions of integer precision in the reference: the grids, the rule of requantization, and what networks make of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import conv, quantized, random_networks, small_network

import opq
from opq.graph import Graph, Node, ValueInfo
from opq.reference import execution
from opq.reference.integer import execution as integer_execution
from opq.reference.integer.fixed_point import requantization, requantize
from opq.reference.integer.layers import fma
from opq.reference.integer.quantized import Grid, grid_of, range_of
from opq.reference.ranges_section import Range, rounded_range

ENDS = st.floats(0.0, 1e6, width=32)
RANGES = st.tuples(ENDS, ENDS).filter(any).map(lambda ends: rounded_range(-ends[0], ends[1])).filter(lambda r: r.lo < r.hi)


@given(range_=RANGES, precision=st.sampled_from(["int8", "int16"]), seed=st.integers(0, 2**32 - 1))
def test_a_grid_holds_its_range_within_half_a_step(range_, precision, seed):
    grid = grid_of(range_, precision)
    x = np.random.default_rng(seed).uniform(range_.lo, range_.hi, 100).astype(np.float32)
    q = grid.quantize(x)
    assert grid.least <= q.min()
    assert q.max() <= grid.most
    # A step of 8 bits more at the end that the rounding of zero moves inside.
    error = np.abs((q - grid.zero) * np.float64(grid.scale) - x)
    assert error.max() <= (1.0 if precision == "int8" else 0.5 + 1e-2) * grid.scale
    assert grid.quantize(np.zeros(1, np.float32)) == grid.zero


@given(range_=RANGES, precision=st.sampled_from(["int8", "int16"]))
def test_what_is_held_keeps_its_integers(range_, precision):
    grid = grid_of(range_, precision)
    q = np.arange(grid.least, grid.most + 1, 7, dtype=np.int32)
    held = integer_execution.Quantized(q, grid)
    np.testing.assert_array_equal(grid.quantize(held.dequantize()), q)


def test_values_that_are_no_numbers_are_held_too():
    grid = grid_of(Range(-1.0, 3.0), "int8")
    x = np.array([np.nan, np.inf, -np.inf, 3e38], np.float32)
    np.testing.assert_array_equal(grid.quantize(x), [grid.zero, 255, 0, 255])
    assert range_of(x[:3]) == (-1.0, 1.0)
    assert range_of(np.array([np.inf, 2.0], np.float32)) == (0.0, 2.0)


@given(seed=st.integers(0, 2**32 - 1), with_residual=st.booleans(), bits=st.integers(2, 8))
def test_requantization_is_the_scaled_sum_within_one_step(seed, with_residual, bits):
    rng = np.random.default_rng(seed)
    channels, depth, levels = 4, int(rng.integers(1, 2000)), 2 ** (bits - 1) - 1
    codes = rng.integers(-levels, levels + 1, (channels, depth)) * (rng.random((channels, depth)) < rng.uniform(0.05, 1.0))
    x = Grid(np.float32(rng.lognormal()), int(rng.choice([0, rng.integers(256)])), 0, 255)
    scale = rng.lognormal(size=channels).astype(np.float32).astype(np.float64) * rng.choice([-1, 1], channels)
    q = rng.integers(0, 256, (5, depth))
    sums = (q @ codes.T).astype(np.int64)
    values = scale * x.scale * (sums - x.zero * codes.sum(axis=1))
    bias = np.float64(np.float32(rng.normal(scale=values.std() + 1e-3, size=channels)))
    y = grid_of(range_of((values + bias).astype(np.float32)), "int8")
    residual = Grid(np.float32(y.scale * rng.uniform(0.1, 8.0)), int(rng.integers(256)), 0, 255) if with_residual else None
    positive = np.maximum(codes, 0).sum(axis=1)
    rule = requantization(scale, bias, (positive, positive - codes.sum(axis=1)), x, y, residual)
    r = rng.integers(0, 256, sums.shape) - residual.zero if residual is not None else None
    exact = (values + bias + (0.0 if residual is None else r * np.float64(residual.scale))) / y.scale + y.zero
    got = requantize(sums, rule, r, 0, 255)
    # Half a step from the last rounding; at `fraction` bits behind the point, half a unit each from the product, the bias and
    # the residual's product; half a unit of the multipliers; and half a unit of the sum where it is shifted.
    unit = np.exp2(-rule.fraction)
    slack = 0.5 + 1.5 * unit + np.abs(sums / np.exp2(rule.shift)) * unit * 2.0**-16 + (rule.shift > 0) * unit / 2
    slack += 0.0 if r is None else np.abs(r << 7) * unit * 2.0**-16
    assert np.all(np.abs(got - np.clip(exact, 0, 255)) <= slack)
    assert np.all((got >= 0) & (got <= 255))


@given(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 3))
def test_fma_rounds_once(numbers):
    from fractions import Fraction

    a, b, c = (np.array([number], np.float32) for number in numbers)
    exact = Fraction(float(a[0])) * Fraction(float(b[0])) + Fraction(float(c[0]))
    got = fma(a, b, c)[0]
    below, above = np.nextafter(got, np.float32(-np.inf)), np.nextafter(got, np.float32(np.inf))
    distance = abs(Fraction(float(got)) - exact)
    assert distance <= abs(Fraction(float(below)) - exact)
    assert distance <= abs(Fraction(float(above)) - exact)


def test_fma_where_two_roundings_differ():
    # 1 + 2^-24 + 2^-60: a tie for float32 once float64 has dropped the last term.
    a, b, c = np.float32(2.0**-30), np.float32(2.0**-30), np.float32(1.0)
    half = np.float32(2.0**-24)
    assert fma(np.array([a]), np.array([b]), np.array([c]))[0] == 1.0
    x = np.array([1.0 + 2.0**-12], np.float32)
    exact = (1.0 + 2.0**-12) ** 2  # 1 + 2^-11 + 2^-24: a tie, to even; with 2^-60 more it rounds up
    assert fma(x, x, np.zeros(1, np.float32))[0] == np.float32(exact)
    assert fma(x, x, np.array([2.0**-60], np.float32))[0] == np.nextafter(np.float32(1.0 + 2.0**-11), np.float32(2.0))
    assert half > 0


def held_everywhere(model, x):
    """Ranges of all values of a network, its input among them, as it computes on x."""
    names = [info.name for info in model.graph.inputs] + [node.outputs[0] for node in model.graph.nodes]
    values = execution.run(model.graph, model.tensors, {"x": x}, names)
    outputs = {info.name for info in model.graph.outputs}
    ranges = {}
    for name, value in zip(names, values, strict=True):
        if name not in outputs and value.dtype == np.float32:
            lo, hi = range_of(value)
            ranges[name] = rounded_range(1.01 * lo, 1.01 * hi)
    return ranges


@given(random_networks(), st.sampled_from(["int8", "int16"]), st.booleans())
def test_an_image_gives_the_same_alone_and_in_a_batch(drawn, precision, with_ranges):
    model, x = drawn
    ranges = held_everywhere(model, x) if with_ranges else {}
    together = integer_execution.run(model.graph, model.tensors, ranges, precision, {"x": x})[0]
    for i in range(len(x)):
        alone = integer_execution.run(model.graph, model.tensors, ranges, precision, {"x": x[i : i + 1]})[0]
        np.testing.assert_array_equal(alone[0], together[i])


def residual_network(activation):
    """x -> conv -> (+ x) -> activation -> mean -> Linear."""
    rng = np.random.default_rng(3)
    tensors = {"c.weight": quantized(rng, (4, 4, 3, 3), 7, 0.5), "c.bias": rng.normal(size=4).astype(np.float32)}
    tensors["fc.weight"] = quantized(rng, (3, 4), 7, 0.2, channel_scales=False)
    nodes = [
        conv("c", "x", "a", "", "c.bias", kernel=3, pads=(1, 1, 1, 1)),
        Node("Add", "add", ("a", "x"), ("b",)),
        activation("b", "d"),
        Node("ReduceMean", "mean", ("d",), ("e",), {"axes": (2, 3), "keepdims": 0}),
        Node("Linear", "fc", ("e", "fc.weight"), ("y",)),
    ]
    graph = Graph((ValueInfo("x", "float32", ("N", 4, 5, 6)),), (ValueInfo("y", "float32", ("N", 3)),), tuple(nodes))
    return opq.CompressedModel(graph, tensors), rng.normal(size=(2, 4, 5, 6)).astype(np.float32)


@pytest.mark.parametrize(
    "activation",
    [
        lambda x, y: Node("Relu", "act", (x,), (y,)),
        lambda x, y: Node("Clip", "act", (x,), (y,), {"min": -0.5, "max": 2.0}),
        lambda x, y: Node("LeakyRelu", "act", (x,), (y,), {"alpha": 0.5}),
    ],
    ids=["relu", "clip", "leaky"],
)
def test_a_layer_takes_in_residual_and_activation(activation):
    model, x = residual_network(activation)
    ranges = held_everywhere(model, x)
    expected = execution.run(model.graph, model.tensors, {"x": x}, ["d"])[0]
    grid = grid_of(ranges["d"], "int8")
    # With the range of "d" alone the layer's input has its own range by image; with all it is in fixed point.
    for held in ({"d": ranges["d"]}, ranges, {**ranges, "a": Range(-1e-3, 1e-3), "b": Range(-1e-3, 1e-3)}):
        whole = opq.CompressedModel(model.graph, model.tensors, ranges=held)
        got = opq.Session(whole, precision="int8", backend="reference").run(None, {"x": x})[0]
        inside = integer_execution.run(
            Graph(model.graph.inputs, (ValueInfo("d", "float32", ("N", 4, 5, 6)),), model.graph.nodes[:3]),
            model.tensors, held, "int8", {"x": x},
        )[0]  # fmt: skip
        # The input loses half a step of its grid, or one where it is clipped by the rounding of zero; so does the residual; the
        # output as much of its own. Rounding within the fixed point and of the multipliers is below another step.
        largest = np.abs(model["c.weight"].dequantize()).sum(axis=(1, 2, 3)).max()
        step = grid_of(held.get("x", range_of(x)), "int8").scale
        assert np.abs(inside - expected).max() <= (largest + 1.0) * step + 2.0 * grid.scale
        assert np.isfinite(got).all()


def test_ranges_survive_the_file(tmp_path):
    model = small_network()
    ranges = {"x": Range(-2.0, 2.5), "b": Range(0.0, 6.0), "d": Range(-0.5, 0.25)}
    opq.CompressedModel(model.graph, model.tensors, model.details, ranges).save(tmp_path / "n.opq")
    loaded = opq.load(tmp_path / "n.opq")
    assert loaded.ranges == ranges
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6)).astype(np.float32)
    for source in (loaded, tmp_path / "n.opq"):
        session = opq.Session(source, precision="int8", backend="reference")
        assert session.precision == "int8"
        y = session.run(None, {"x": x})[0]
        np.testing.assert_array_equal(y, integer_execution.run(model.graph, model.tensors, ranges, "int8", {"x": x})[0])
    # The core reads the same file, and its float32 does not look at the ranges.
    np.testing.assert_array_equal(opq.Session(loaded).run(None, {"x": x})[0], opq.Session(model).run(None, {"x": x})[0])


@pytest.mark.parametrize(
    "entries",
    [
        [(0, -1.0, 1.0), (0, -1.0, 1.0)],
        [(99, -1.0, 1.0)],
        [(1, 0.5, 1.0)],
        [(1, -1.0, -0.5)],
        [(1, 0.0, 0.0)],
        [(1, float("nan"), 1.0)],
        [(1, 0.0, float("inf"))],
    ],
)
def test_both_readers_refuse_wrong_ranges(entries):
    import struct

    from opq import _core
    from opq.reference.container import read_container, write_container
    from opq.reference.half_precision import narrow

    content = struct.pack("<I", len(entries)) + b"".join(
        struct.pack("<I", place) + narrow(np.array(ends, np.float32), "bfloat16").tobytes() for place, *ends in entries
    )
    sections = {kind: bytes(view) for kind, view in read_container(small_network().to_bytes()).items()}
    for damaged in (content, content + b"\0", content[:-1]):
        file = write_container({**sections, b"ACTV": damaged})
        with pytest.raises(opq.FormatError):
            opq.load(file)
        with pytest.raises(opq.FormatError):
            _core.Network(file, 1)
    del sections[b"GRPH"]
    for reader in (opq.load, lambda file: _core.Network(file, 1)):
        with pytest.raises(opq.FormatError, match="ACTV"):
            reader(write_container({**sections, b"ACTV": struct.pack("<I", 0)}))


def test_words_that_are_unknown():
    model = small_network()
    with pytest.raises(ValueError, match="precision 'int4' is unknown"):
        opq.Session(model, precision="int4")
