"""The error bounds against float32 arithmetic in the core's order, done here in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opq.graph import Attribute, Node
from opq.quantization import QuantizedTensor
from opq.reference.bounds import gamma, node_bound, within

Array = npt.NDArray[Any]
Single = npt.NDArray[np.float32]
CONV: dict[str, Attribute] = {"strides": (1,), "dilations": (1,), "pads": (0, 0), "auto_pad": "NOTSET", "group": 1}


def node(op: str, **attributes: Attribute) -> Node:
    return Node(op, "tested", (), ("y",), attributes)


def fma(a: Array, b: Array, c: Array) -> Single:
    """One rounding, but for the rare cases where float64 is not wide enough for the sum."""
    return (a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)).astype(np.float32)


def chain(weight: Single, x: Single) -> Single:
    """[M, K] by [K]: ascending fma from 0."""
    total = np.zeros(len(weight), np.float32)
    for k in range(len(x)):
        total = fma(weight[:, k], x[k], total)
    return total


def lane_sum(x: Single) -> np.float32:
    """8 interleaved partial sums, then the tree."""
    lanes = np.zeros(8, np.float32)
    for i, value in enumerate(x):
        lanes[i % 8] += value
    four = lanes[:4] + lanes[4:]
    two = four[:2] + four[2:]
    return np.float32(two[0] + two[1])


def numbers(seed: int, magnitude: int, *shape: int) -> Single:
    """Of very different sizes around 2^magnitude, so that sums cancel and underflow."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * 2.0 ** (magnitude + rng.integers(-8, 9, shape))).astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(-140, 30), st.booleans())
def test_products(seed: int, terms: int, magnitude: int, with_codes: bool) -> None:
    x, scale, bias = numbers(seed, magnitude, terms), numbers(seed + 1, 0, 5), numbers(seed + 2, magnitude, 5)
    values = numbers(seed + 3, 0, 5, terms)
    weight: Array | QuantizedTensor = values
    if with_codes:
        codes = np.random.default_rng(seed).integers(-7, 8, (5, terms)).astype(np.int8)
        weight, values = QuantizedTensor(codes, 0.75, 7), codes.astype(np.float32)
        factor = np.float32(0.75) * scale
    else:
        factor = scale
    core = fma(factor, chain(values, x), bias)
    reference, bound = node_bound(node("Linear"), [x, weight, scale, bias])
    assert within(core, reference, bound).all()
    assert bound.max() <= gamma(terms + 2) * (
        np.abs(factor.astype(float)) @ np.abs(values.astype(float)) @ np.abs(x.astype(float)) + np.abs(bias.astype(float)).sum()
    ) + (terms + 1) * 2.0**-149 * max(1.0, float(np.abs(factor).max()))

    kernel = QuantizedTensor(weight.codes[:, :, None], 0.75, 7) if isinstance(weight, QuantizedTensor) else values[..., None]
    conv, conv_bound = node_bound(node("Conv", **CONV), [x.reshape(1, terms, 1), kernel, scale, bias])
    np.testing.assert_allclose(conv.ravel(), reference, rtol=1e-12)
    np.testing.assert_allclose(conv_bound.ravel(), bound, rtol=1e-9)
    product, product_bound = node_bound(node("MatMul"), [values, x])
    assert within(chain(values, x), product, product_bound).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(-140, 100))
def test_means(seed: int, count: int, magnitude: int) -> None:
    x = numbers(seed, magnitude, count)
    mean = lane_sum(x) / np.float32(count)
    assert within(np.asarray(mean), *node_bound(node("ReduceMean", axes=(0,), keepdims=0), [x])).all()
    total = np.float32(0)
    for value in x:
        total += value
    pool = {**CONV, "kernel_shape": (count,), "ceil_mode": 0, "count_include_pad": 0}
    del pool["group"]
    reference, bound = node_bound(node("AveragePool", **pool), [x.reshape(1, 1, count)])
    assert within(np.array([[[total / np.float32(count)]]]), reference, bound).all()
    assert bound.max() <= 1.01 * gamma(count + 1) * np.abs(x.astype(float)).mean() + 2.0**-149


@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(-6, 6))
def test_softmax(seed: int, count: int, magnitude: int) -> None:
    x = numbers(seed, magnitude, count)
    powers = np.exp((x - x.max()).astype(np.float64)).astype(np.float32)  # correctly rounded: half an ulp of the 2
    reciprocal = np.float32(1) / lane_sum(powers)
    reference, bound = node_bound(node("Softmax", axis=0), [x])
    assert within(powers * reciprocal, reference, bound).all()
    assert (bound <= 1e-4 * reference + 1e-37).all()


@given(st.integers(0, 2**32 - 1), st.integers(-20, 20), st.sampled_from([1, 3, 5]))
def test_lrn(seed: int, magnitude: int, size: int) -> None:
    x = numbers(seed, magnitude, 1, 9)
    alpha, beta, bias = np.float32(1e-2), 0.75, np.float32(1.5)
    squares = np.zeros_like(x)
    for c in range(9):
        for k in range(max(0, c - size // 2), min(9, c + size // 2 + 1)):
            squares[:, c] = fma(x[:, k], x[:, k], squares[:, c])
    base = bias + (alpha / np.float32(size)) * squares
    core = x / (base.astype(np.float64) ** beta).astype(np.float32)
    tested = node("LRN", size=size, alpha=1e-2, beta=beta, bias=1.5)
    reference, bound = node_bound(tested, [x])
    assert within(core, reference, bound).all()
    assert (bound <= 1e-5 * np.abs(reference) + 1e-44).all()


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=8))
def test_pointwise(values: list[float]) -> None:
    x = np.array(values, np.float32)
    with np.errstate(all="ignore"):
        cores: list[tuple[Node, Array]] = [
            (node("Relu"), np.maximum(x, np.float32(0))),
            (node("Clip", min=-0.1, max=6.0), np.clip(x, np.float32(-0.1), np.float32(6))),
            (node("LeakyRelu", alpha=0.1), np.where(x < 0, np.float32(0.1) * x, x)),
            (node("Tanh"), np.tanh(x)),
            (node("Sigmoid"), (1 / (1 + np.exp(-x.astype(np.float64)))).astype(np.float32)),
            (node("HardSigmoid", alpha=0.2, beta=0.4), np.clip(np.float32(0.2) * x + np.float32(0.4), 0, 1)),
            (node("HardSwish"), x * np.clip(x * np.float32(1 / 6) + np.float32(0.5), 0, 1)),
            (node("HardSwish"), x * (np.clip(x + np.float32(3), 0, 6) * np.float32(1 / 6))),
        ]
    for tested, core in cores:
        assert core.dtype == np.float32
        reference, bound = node_bound(tested, [x])
        assert within(core, reference, bound).all(), tested.op


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
def test_single_operations_must_be_correctly_rounded(op: str) -> None:
    a, b = numbers(0, 0, 100), numbers(1, 0, 100)
    operation = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[op]
    reference, bound = node_bound(node(op), [a, b])
    assert not bound.any()
    assert within(operation(a, b), reference, bound).all()
    assert not within(np.nextafter(operation(a, b), np.float32(np.inf)), reference, bound).any()


def test_integers_must_be_equal() -> None:
    a = np.array([1, 2**62 + 1], np.int64)
    reference, bound = node_bound(node("Add"), [a, a])
    assert within(a + a, reference, bound).all()
    assert not within(a + a + 1, reference, bound).any()


def test_nothing_is_promised_beyond_float32_and_for_what_is_no_number() -> None:
    weight = np.ones((1, 3), np.float32)
    # The chain overflows although the sum does not.
    _, bound = node_bound(node("Linear"), [np.array([3e38, 3e38, -3e38], np.float32), weight])
    assert bound.tolist() == [np.inf]
    _, bound = node_bound(node("Linear"), [np.array([np.inf, np.nan, 0], np.float32), weight])
    assert bound.tolist() == [np.inf]
    reference, bound = node_bound(node("Relu"), [np.array([np.nan, np.inf, -np.inf], np.float32)])
    assert bound.tolist() == [np.inf, 0, 0]
    assert within(np.array([0, np.inf, 0], np.float32), reference, bound).all()


def test_a_wrong_result_is_noticed() -> None:
    x, weight = numbers(0, 0, 40), numbers(1, 0, 3, 40)
    reference, bound = node_bound(node("Linear"), [x, weight])
    core = chain(weight, x)
    assert within(core, reference, bound).all()
    core[1] = np.nan
    core[2] += np.float32(2 * bound[2])
    assert within(core, reference, bound).tolist() == [True, False, False]
