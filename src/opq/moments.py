"""Mean and variance of every value of a network, per channel, from its BatchNorm statistics: no data is needed.

A BatchNorm makes the values of channel c have the mean beta_c and the standard deviation |gamma_c| over the training set. From
there on,

    x -> f(x), elementwise      E f(x) and Var f(x) of a normal x, by quadrature
    x + y                       means and variances add, as of independent values
    average pooling             keeps the mean; the variance shrinks by an unknown share
    concatenation               puts channels side by side

What cannot be derived (a maximum over a window, a product of two values, the network's input) stays unknown, and so does what
is computed from it, up to the next BatchNorm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from opq.graph import Graph, Node

Vector = npt.NDArray[np.float64]

# The trapezoidal rule on a normal density up to 7 standard deviations: a kink, as Relu has, costs 2e-4 of one at most.
GRID = np.linspace(-7.0, 7.0, 281)
DENSITY = np.exp(-0.5 * GRID**2)
DENSITY /= DENSITY.sum()


@dataclass(frozen=True, eq=False)
class Moments:
    """mean [channels], and variance [channels] or None where it is not known. Axis 1 of the value is its channels."""

    mean: Vector
    variance: Vector | None = None


def propagate(graph: Graph, known: Mapping[str, Moments]) -> dict[str, Moments]:
    """The moments of all values that can be derived from those that are `known` from BatchNorm, which are among them."""
    moments: dict[str, Moments] = {}
    for node in graph.nodes:
        [output] = node.outputs
        found = known.get(output) or _derive(node, moments)
        if found is not None:
            moments[output] = found
    return moments


def _derive(node: Node, moments: Mapping[str, Moments]) -> Moments | None:
    inputs = [moments.get(name) for name in node.inputs]
    first = inputs[0] if inputs else None
    if node.op == "Concat":
        return _concatenated(node, inputs)
    if node.op == "Add":
        return _sum(*inputs)
    if first is None:
        return None
    if node.op in _ELEMENTWISE:
        return _elementwise(_ELEMENTWISE[node.op](node), first)
    if (
        (node.op == "Flatten" and node.attributes["axis"] == 1)
        or node.op == "Squeeze"
        or (node.op == "Pad" and _pads_zeros(node))
    ):
        return first
    # Over positions: what they are averages of has one mean, but how much alike they are is not known.
    if node.op == "AveragePool" or (node.op == "ReduceMean" and _spatial_axes(node)):
        return Moments(first.mean)
    if node.op == "Reshape" and node.attributes["shape"] in ((0, -1), (0, first.mean.size), (-1, first.mean.size)):
        return first  # a Linear layer sees whether channels still are what they were
    return None


def _sum(*terms: Moments | None) -> Moments | None:
    a, b = terms
    if a is None or b is None or a.mean.shape != b.mean.shape:
        return None
    return Moments(a.mean + b.mean, None if a.variance is None or b.variance is None else a.variance + b.variance)


def _concatenated(node: Node, inputs: list[Moments | None]) -> Moments | None:
    parts = [part for part in inputs if part is not None]
    if node.attributes["axis"] != 1 or len(parts) < len(inputs):
        return None
    variances = [part.variance for part in parts if part.variance is not None]
    variance = np.concatenate(variances) if len(variances) == len(parts) else None
    return Moments(np.concatenate([part.mean for part in parts]), variance)


def _elementwise(function: Callable[[Vector], Vector], x: Moments) -> Moments | None:
    if x.variance is None:
        return None
    values = function(x.mean[:, None] + np.sqrt(x.variance)[:, None] * GRID)
    mean = values @ DENSITY
    return Moments(mean, np.maximum(values**2 @ DENSITY - mean**2, 0.0))


def _number(node: Node, key: str) -> float:
    value = node.attributes[key]
    assert isinstance(value, (int, float))
    return float(value)


def _spatial_axes(node: Node) -> bool:
    axes = node.attributes["axes"]
    return isinstance(axes, tuple) and all(axis >= 2 or -2 <= axis < 0 for axis in axes)


def _pads_zeros(node: Node) -> bool:
    """Zeros around the image, whose few positions are left out of account, as those of a convolution's own padding are."""
    pads = node.attributes["pads"]
    assert isinstance(pads, tuple)
    return (
        node.attributes["mode"] == "constant"
        and node.attributes["value"] == 0.0
        and not any(pads[:2] + pads[len(pads) // 2 :][:2])
    )


def _leaky(node: Node) -> Callable[[Vector], Vector]:
    alpha = _number(node, "alpha")
    return lambda x: np.where(x < 0.0, alpha * x, x)


def _hard_sigmoid(node: Node) -> Callable[[Vector], Vector]:
    alpha, beta = _number(node, "alpha"), _number(node, "beta")
    return lambda x: np.clip(alpha * x + beta, 0.0, 1.0)


def _clip(node: Node) -> Callable[[Vector], Vector]:
    low, high = _number(node, "min"), _number(node, "max")
    return lambda x: np.clip(x, low, high)


_ELEMENTWISE: dict[str, Callable[[Node], Callable[[Vector], Vector]]] = {
    "Relu": lambda _: lambda x: np.maximum(x, 0.0),
    "LeakyRelu": _leaky,
    "Clip": _clip,
    "Sigmoid": lambda _: lambda x: 0.5 + 0.5 * np.tanh(0.5 * x),
    "Tanh": lambda _: np.tanh,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda _: lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
}
