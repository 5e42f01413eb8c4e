"""Means and variances from BatchNorm statistics, against closed forms and against samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from opq.graph import Graph, Node
from opq.moments import Moments, propagate

X = Moments(np.array([0.5, -1.0, 3.0, 0.0]), np.array([1.0, 0.25, 4.0, 0.0]))


def derived(*nodes, **known):
    return propagate(Graph((), (), nodes), known)


def node(op, inputs, output, **attributes):
    return Node(op, output, inputs, (output,), attributes)


SOURCE = node("Relu", ("in",), "x")  # whatever makes x: BatchNorm's word on its output counts


@given(st.floats(-4, 4), st.floats(0.01, 3))
def test_relu_against_its_closed_form(mean, deviation):
    x = Moments(np.array([mean]), np.array([deviation**2]))
    y = derived(SOURCE, node("Relu", ("x",), "y"), x=x)["y"]
    z = mean / deviation
    expected = mean * norm.cdf(z) + deviation * norm.pdf(z)
    second = (mean**2 + deviation**2) * norm.cdf(z) + mean * deviation * norm.pdf(z)
    assert y.mean[0] == pytest.approx(expected, abs=3e-4 * deviation)
    assert y.variance[0] == pytest.approx(second - expected**2, abs=3e-3 * deviation**2)


@pytest.mark.parametrize(
    ("op", "attributes", "function"),
    [
        ("Relu", {}, lambda x: np.maximum(x, 0)),
        ("Clip", {"min": 0.0, "max": 6.0}, lambda x: np.clip(x, 0, 6)),
        ("LeakyRelu", {"alpha": 0.1}, lambda x: np.where(x < 0, 0.1 * x, x)),
        ("Sigmoid", {}, lambda x: 1 / (1 + np.exp(-x))),
        ("Tanh", {}, np.tanh),
        ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}, lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
        ("HardSwish", {}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    ],
)
def test_elementwise_against_samples(op, attributes, function):
    y = derived(SOURCE, node(op, ("x",), "y", **attributes), x=X)["y"]
    samples = function(X.mean[:, None] + np.sqrt(X.variance)[:, None] * np.random.default_rng(0).normal(size=200_000))
    np.testing.assert_allclose(y.mean, samples.mean(axis=1), atol=0.01)
    np.testing.assert_allclose(y.variance, samples.var(axis=1), atol=0.03)


def test_sums_concatenation_and_pooling():
    other = Moments(np.ones(4), np.full(4, 2.0))
    values = derived(
        SOURCE,
        node("Relu", ("in",), "o"),
        node("Add", ("x", "o"), "sum"),
        node("Concat", ("x", "o"), "both", axis=1),
        node("AveragePool", ("x",), "pooled"),
        node("ReduceMean", ("x",), "mean", axes=(2, 3), keepdims=1),
        node("Flatten", ("mean",), "flat", axis=1),
        node("Relu", ("pooled",), "unknown"),
        x=X,
        o=other,
    )
    np.testing.assert_array_equal(values["sum"].mean, X.mean + 1)
    np.testing.assert_array_equal(values["sum"].variance, X.variance + 2)
    np.testing.assert_array_equal(values["both"].mean, np.concatenate([X.mean, other.mean]))
    for name in ("pooled", "mean", "flat"):
        np.testing.assert_array_equal(values[name].mean, X.mean)
    assert values["pooled"].variance is None, "how much alike neighbours are is not known"
    assert "unknown" not in values


def test_what_cannot_be_derived_stays_unknown_up_to_the_next_batch_norm():
    values = derived(
        SOURCE,
        node("MaxPool", ("x",), "a"),
        node("Relu", ("a",), "b"),
        node("Mul", ("x", "x"), "c"),
        node("Concat", ("x", "b"), "d", axis=1),
        node("ReduceMean", ("x",), "e", axes=(1,), keepdims=1),
        node("Conv", ("b", "w"), "f"),
        node("Relu", ("f",), "g"),
        x=X,
        f=X,
    )
    assert set(values) == {"x", "f", "g"}
