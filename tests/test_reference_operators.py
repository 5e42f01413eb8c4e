"""The reference operators against their definitions as nested loops, and against NumPy where it has the operation.

Values are small integers where sums are compared, so that every order of summation is exact.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opq.errors import UnsupportedError
from opq.graph import Attribute, Node
from opq.quantization import QuantizedTensor
from opq.reference.operators import OPERATORS, evaluate
from opq.reference.signatures import SIGNATURES

Array = npt.NDArray[Any]


def node(op: str, **attributes: Attribute) -> Node:
    return Node(op, "tested", (), ("y",), attributes)


def window(axes: int = 2, **changes: Attribute) -> dict[str, Attribute]:
    plain: dict[str, Attribute] = {
        "strides": (1,) * axes,
        "dilations": (1,) * axes,
        "pads": (0,) * (2 * axes),
        "auto_pad": "NOTSET",
    }
    return {**plain, **changes}


def whole(rng: np.random.Generator, *shape: int) -> npt.NDArray[np.float32]:
    return rng.integers(-9, 10, shape).astype(np.float32)


def sizes(axes: int, low: int, high: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(low, high)] * axes)


def covered(start: tuple[int, ...], kernel: tuple[int, ...], dilations: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The input positions, which may lie outside, that a window starting at `start` covers."""
    taps = itertools.product(*map(range, kernel))
    return [tuple(s + t * d for s, t, d in zip(start, tap, dilations, strict=True)) for tap in taps]


def inside(position: tuple[int, ...], size: tuple[int, ...]) -> bool:
    return all(0 <= p < n for p, n in zip(position, size, strict=True))


@given(st.data())
def test_conv_is_the_sum_over_its_window(data: st.DataObject) -> None:
    axes, group, depth, outputs = (data.draw(st.integers(1, high)) for high in (2, 3, 2, 2))
    kernel, strides, dilations = (data.draw(sizes(axes, 1, high)) for high in (3, 3, 2))
    pads = data.draw(sizes(2 * axes, 0, 2))
    size = tuple(data.draw(st.integers(max(1, (k - 1) * d + 1), 6)) for k, d in zip(kernel, dilations, strict=True))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x, weight = whole(rng, 2, group * depth, *size), whole(rng, group * outputs, depth, *kernel)
    bias = whole(rng, group * outputs)
    attributes = window(axes, strides=strides, dilations=dilations, pads=pads)
    y = evaluate(node("Conv", **attributes, group=group), [x, weight, None, bias])
    for index in np.ndindex(*y.shape):
        n, m, *at = index
        start = tuple(i * s - p for i, s, p in zip(at, strides, pads, strict=False))
        total = float(bias[m])
        for c in range(depth):
            for tap, position in zip(np.ndindex(*kernel), covered(start, kernel, dilations), strict=True):
                if inside(position, size):
                    channel = m // outputs * depth + c
                    total += float(weight[(m, c, *tap)]) * float(x[(n, channel, *position)])
        assert y[index] == total


@pytest.mark.parametrize(("mode", "begin"), [("SAME_UPPER", 1), ("SAME_LOWER", 2)])
def test_auto_pad_puts_the_odd_element_where_it_says(mode: str, begin: int) -> None:
    # 7 elements, stride 2: 4 outputs; a kernel of 4 needs 3 more elements than there are.
    x, weight = np.arange(7, dtype=np.float32).reshape(1, 1, 7), np.ones((1, 1, 4), np.float32)
    same = evaluate(node("Conv", **window(1, strides=(2,), auto_pad=mode), group=1), [x, weight])
    explicit = evaluate(node("Conv", **window(1, strides=(2,), pads=(begin, 3 - begin)), group=1), [x, weight])
    assert same.shape == (1, 1, 4)
    np.testing.assert_array_equal(same, explicit)


@pytest.mark.parametrize("with_channels", [True, False])
def test_a_quantized_weight_multiplies_codes_and_scales_the_sum(with_channels: bool) -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(-7, 8, (4, 3, 1, 1)).astype(np.int8)
    step, scale = float(np.float32(0.1)), rng.standard_normal(4).astype(np.float32)
    weight = QuantizedTensor(codes, step, 7, scale, 0) if with_channels else QuantizedTensor(codes, step, 7)
    given_scale, bias = rng.standard_normal((2, 4)).astype(np.float32)
    x = rng.standard_normal((2, 3, 5, 5)).astype(np.float32)
    channel = np.float32(step) * scale if with_channels else np.full(4, np.float32(step))
    factor = (channel * given_scale).astype(np.float64)
    assert channel.dtype == given_scale.dtype == np.float32
    sums = np.einsum("mk,nkhw->nmhw", codes[..., 0, 0].astype(float), x.astype(float))
    expected = factor[:, None, None] * sums + bias.astype(float)[:, None, None]
    y = evaluate(node("Conv", **window(), group=1), [x, weight, given_scale, bias])
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-14)
    matrix = QuantizedTensor(codes[..., 0, 0], step, 7, weight.scale, weight.axis)
    rows = evaluate(node("Linear"), [np.moveaxis(x, 1, -1), matrix, given_scale, bias])
    np.testing.assert_allclose(np.moveaxis(rows, -1, 1), expected, rtol=0, atol=1e-14)


@given(st.data())
def test_pooling_takes_the_elements_of_its_window(data: st.DataObject) -> None:
    axes = data.draw(st.integers(1, 2))
    kernel, strides, dilations = (data.draw(sizes(axes, 1, high)) for high in (3, 4, 2))
    pads = data.draw(st.tuples(*[st.integers(0, k - 1) for k in kernel * 2]))
    ceil_mode, include = data.draw(st.integers(0, 1)), data.draw(st.integers(0, 1))
    size = tuple(data.draw(st.integers((k - 1) * d + 1, 7)) for k, d in zip(kernel, dilations, strict=True))
    x = whole(np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))), 1, 2, *size)
    attributes = window(axes, strides=strides, dilations=dilations, pads=pads, kernel_shape=kernel, ceil_mode=ceil_mode)
    largest = evaluate(node("MaxPool", **attributes), [x])
    average = evaluate(node("AveragePool", **attributes, count_include_pad=include), [x])

    for axis in range(axes):
        begin, end, n, stride = pads[axis], pads[axis + axes], size[axis], strides[axis]
        exact = (n + begin + end - (kernel[axis] - 1) * dilations[axis] - 1) / stride + 1
        expected = math.ceil(exact) if ceil_mode else math.floor(exact)
        if expected > math.floor(exact) and (expected - 1) * stride >= n + begin:
            expected -= 1  # it would start in the padding at the end
        assert largest.shape[2 + axis] == average.shape[2 + axis] == expected

    for index in np.ndindex(*average.shape):
        start = tuple(i * s - p for i, s, p in zip(index[2:], strides, pads, strict=False))
        positions = covered(start, kernel, dilations)
        elements = [float(x[(*index[:2], *p)]) for p in positions if inside(p, size)]
        if include:
            shifted = [tuple(p + begin for p, begin in zip(at, pads, strict=False)) for at in positions]
            padded = tuple(n + pads[i] + pads[i + axes] for i, n in enumerate(size))
            count = sum(inside(p, padded) for p in shifted)
        else:
            count = len(elements)
        assert largest[index] == max(elements, default=-np.inf)
        assert average[index] == sum(elements) / count if count else np.isnan(average[index])


def test_ceil_mode_counts_only_what_is_there() -> None:
    x = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5)
    attributes = window(1, strides=(2,), pads=(1, 0), kernel_shape=(3,), ceil_mode=1)
    [[y]] = evaluate(node("AveragePool", **attributes, count_include_pad=1), [x])
    np.testing.assert_array_equal(y, [(0 + 1 + 2) / 3, (2 + 3 + 4) / 3, (4 + 5) / 2])


ELEMENTWISE: list[tuple[Node, Any]] = [
    (node("Relu"), lambda v: max(v, 0.0)),
    (node("LeakyRelu", alpha=0.25), lambda v: v if v >= 0 else 0.25 * v),
    (node("Clip", min=-1.0, max=2.0), lambda v: min(max(v, -1.0), 2.0)),
    (node("Clip", min=-math.inf, max=math.inf), lambda v: v),
    (node("Clip", min=2.0, max=-1.0), lambda v: -1.0),
    (node("Sigmoid"), lambda v: 1 / (1 + math.exp(-v))),
    (node("Tanh"), math.tanh),
    (node("HardSigmoid", alpha=0.25, beta=0.5), lambda v: min(1.0, max(0.0, 0.25 * v + 0.5))),
    (node("HardSwish"), lambda v: v * min(1.0, max(0.0, v / 6 + 0.5))),
]


@pytest.mark.parametrize(("tested", "formula"), ELEMENTWISE, ids=lambda value: getattr(value, "op", ""))
def test_elementwise(tested: Node, formula: Any) -> None:
    x = np.concatenate([np.linspace(-8, 8, 65), [1e-30, -1e-30, 0.0]]).astype(np.float32)
    y = evaluate(tested, [x])
    np.testing.assert_allclose(y, [formula(float(v)) for v in x], rtol=4e-16, atol=0)
    assert evaluate(tested, [x[:1].reshape(())]).shape == ()


@pytest.mark.parametrize("value", [-math.inf, -3e38, 3e38, math.inf])
def test_saturating_operators_stay_in_range(value: float) -> None:
    x = np.array([value], np.float32)
    for tested in (node("Sigmoid"), node("Tanh"), node("HardSigmoid", alpha=0.2, beta=0.5)):
        assert abs(evaluate(tested, [x])[0]) in (0.0, 1.0)
    assert evaluate(node("Softmax", axis=0), [np.array([1e38, -3e38], np.float32)]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@given(data=st.data())
def test_integer_arithmetic_wraps_and_truncates(dtype: type[np.integer[Any]], data: st.DataObject) -> None:
    bits = 8 * np.dtype(dtype).itemsize
    lowest = -(1 << (bits - 1))
    numbers = st.one_of(st.integers(-9, 9), st.integers(lowest, -lowest - 1))
    a, b = data.draw(numbers), data.draw(numbers)

    def wrapped(value: int) -> int:
        return (value - lowest) % (1 << bits) + lowest

    quotient = 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    expected = {"Add": a + b, "Sub": a - b, "Mul": a * b, "Div": quotient}
    for op, value in expected.items():
        y = evaluate(node(op), [np.array([[a]], dtype), np.array([b, b], dtype)])
        assert y.dtype == dtype
        assert y.tolist() == [[wrapped(value)] * 2]


@given(st.data())
def test_float_arithmetic_rounds_once(data: st.DataObject) -> None:
    numbers = st.floats(width=32, allow_nan=False)
    a, b = (np.array([data.draw(numbers)], np.float32) for _ in range(2))
    with np.errstate(all="ignore"):
        expected = {"Add": a + b, "Sub": a - b, "Mul": a * b, "Div": a / b}
        for op, value in expected.items():
            np.testing.assert_array_equal(evaluate(node(op), [a, b]).astype(np.float32), value)


def test_matmul_broadcasts_as_numpy_does() -> None:
    rng = np.random.default_rng(0)
    for left, right in [((3,), (3,)), ((3,), (3, 2)), ((4, 3), (3,)), ((2, 1, 4, 3), (5, 3, 2)), ((0, 3), (3, 2))]:
        a, b = whole(rng, *left), whole(rng, *right)
        y = evaluate(node("MatMul"), [a, b])
        np.testing.assert_array_equal(y, np.matmul(a, b))
        assert y.dtype == np.float64


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [(), (0,), (-1,), (2, 0), (0, 1, -1)])
def test_reduce_mean(axes: tuple[int, ...], keepdims: int) -> None:
    x = whole(np.random.default_rng(0), 4, 2, 8)
    y = evaluate(node("ReduceMean", axes=axes, keepdims=keepdims), [x])
    np.testing.assert_array_equal(y, x.astype(float).mean(axis=axes, keepdims=keepdims == 1))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_sums_to_one_along_its_axis(axis: int) -> None:
    x = np.random.default_rng(0).normal(0, 50, (3, 4, 5)).astype(np.float32)
    y = evaluate(node("Softmax", axis=axis), [x])
    np.testing.assert_allclose(y.sum(axis=axis), 1.0, rtol=1e-15)
    powers = np.exp(x.astype(np.longdouble))
    np.testing.assert_allclose(y, powers / powers.sum(axis=axis, keepdims=True), rtol=1e-14)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 40])
def test_lrn_sums_neighbouring_channels(size: int) -> None:
    x = whole(np.random.default_rng(0), 2, 7, 3)
    y = evaluate(node("LRN", size=size, alpha=0.5, beta=0.75, bias=2.0), [x])
    for n, c, p in np.ndindex(*x.shape):
        # ONNX: from max(0, c - floor((size - 1) / 2)) to min(C - 1, c + ceil((size - 1) / 2))
        low, high = max(0, c - (size - 1) // 2), min(6, c + -(-(size - 1) // 2))
        total = sum(float(x[n, k, p]) ** 2 for k in range(low, high + 1))
        assert y[n, c, p] == pytest.approx(float(x[n, c, p]) / (2.0 + 0.5 / size * total) ** 0.75, rel=1e-14)


def test_every_operator_has_a_signature_and_the_other_way_round() -> None:
    assert set(OPERATORS) == set(SIGNATURES)


X = np.zeros((1, 2, 4, 4), np.float32)
REFUSED: list[tuple[Node, list[Array]]] = [
    (node("Conv", **window(), group=1), [X, np.zeros((2, 3, 1, 1), np.float32)]),
    (node("Conv", **window(), group=1), [X, np.zeros((2, 2, 5, 5), np.float32)]),
    (node("Conv", **window(), group=1), [X, np.zeros((2, 2, 1, 1), np.float32), np.zeros(3, np.float32)]),
    (node("Conv", **window(1), group=1), [X, np.zeros((2, 2, 1, 1), np.float32)]),
    (node("Linear"), [X, np.zeros((3, 5), np.float32)]),
    (node("Linear"), [X]),
    (node("MatMul"), [X, np.zeros((3, 2), np.float32)]),
    (node("Relu"), [X.astype(np.int32)]),
    (node("LeakyRelu"), [X]),
    (node("Add"), [X, np.zeros(3, np.float32)]),
    (node("Add"), [X, np.zeros(4, np.int32)]),
    (node("MaxPool", **window(), kernel_shape=(5, 1), ceil_mode=0), [X]),
    (node("MaxPool", **window(), kernel_shape=(1,), ceil_mode=0), [X]),
    (node("ReduceMean", axes=(4,), keepdims=0), [X]),
    (node("ReduceMean", axes=(0, -4), keepdims=0), [X]),
    (node("Softmax", axis=-5), [X]),
    (node("LRN", size=3, alpha=0.1, beta=0.5, bias=1.0), [np.zeros(3, np.float32)]),
]


@pytest.mark.parametrize(("tested", "inputs"), REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(tested: Node, inputs: list[Array]) -> None:
    with pytest.raises(ValueError, match=rf"^node 'tested' \({tested.op}\): [^\n]+$"):
        evaluate(tested, inputs)


def test_an_unknown_operator_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match=r"node 'y' \(Einsum\)"):
        evaluate(Node("Einsum", "", (), ("y",)), [X])
