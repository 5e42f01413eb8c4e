"""How far the compiled core's float32 results may lie from the float64 reference, element by element.

The standard model of rounding: fl(a op b) = (a op b)(1 + d), |d| <= u = 2^-24, plus at most half the smallest subnormal
number when the result underflows; n roundings in a row multiply to at most 1 + gamma(n), gamma(n) = n u / (1 - n u)
(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1). The reference's own float64 sums are off
by n 2^-53 of the same magnitude, which is less than one further u for n < 2^29 terms: each bound counts one rounding
more than the core makes.

A network is verified node by node, each node fed with the core's own inputs, so that errors do not add up over layers.
Where a sum could leave the float32 range on the way, or the reference is not a number, the bound is infinite: nothing
is promised there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from opq.graph import Node
from opq.reference.elementwise import unit_clamp
from opq.reference.execution import rounded
from opq.reference.operands import Array, Operands, double, integer, integers, normalize_axes, real
from opq.reference.operators import evaluate
from opq.reference.pooling import pool_windows, window_sums
from opq.reference.products import (
    check_linear,
    conv_sums,
    conv_windows,
    factors,
    per_channel,
    scale_and_bias,
    weight_of,
)
from opq.reference.reductions import square_sums
from opq.reference.windows import count_taps

Doubles = npt.NDArray[np.float64]

UNIT = 2.0**-24  # u: relative error of one float32 rounding
SUBNORMAL = 2.0**-149  # the smallest positive float32
NORMAL = 2.0**-126  # the smallest normal float32
LARGEST = (2.0 - 2.0**-23) * 2.0**127  # the largest float32

# What the core promises for its own polynomials, in units in the last place. An ulp is at most 2 u of the value.
EXP_ULPS = 2
TANH_ULPS = 4
SIGMOID_ULPS = 4
POWER_ULPS = 8


def gamma(n: int) -> float:
    """The relative error of n roundings in a row; infinite where the model says nothing."""
    return n * UNIT / (1 - n * UNIT) if n * UNIT < 1 else math.inf


def node_bound(node: Node, inputs: Operands) -> tuple[Array, Doubles]:
    """The reference output of `node` for these inputs, and the bound on |core - reference| for each element.

    inputs: what the core had at this node: float32 and integer arrays, a QuantizedTensor as a weight.
    Returns (float64 or integer array, float64 array of the same shape). Operators that move elements, choose among them
    or round once have bound 0 against the reference rounded to float32. Raises what `evaluate` raises.
    """
    reference = evaluate(node, inputs)
    derive = _BOUNDS.get(node.op)
    with np.errstate(all="ignore"):
        if derive is None:
            reference = _widened(rounded(reference))
            bound = np.zeros(reference.shape)
        else:
            bound = np.asarray(derive(node, inputs, reference))
        if reference.dtype == np.float64:
            bound = np.where(np.isnan(reference) | np.isnan(bound), np.inf, bound)
    return reference, bound


def within(result: Array, reference: Array, bound: Doubles) -> npt.NDArray[np.bool_]:
    """Which elements of the core's `result` keep the bound; equal infinities do."""
    if reference.dtype != np.float64:
        return np.asarray(result == reference)
    with np.errstate(invalid="ignore"):
        distance = np.abs(result.astype(np.float64) - reference)
    return np.asarray((result == reference) | (distance <= bound) | (bound == np.inf))


def _widened(result: Array) -> Array:
    return result.astype(np.float64) if result.dtype == np.float32 else result


def _dot_bound(magnitude: Doubles, terms: int, scale: Doubles, bias: Doubles) -> Doubles:
    """fma(scale, acc, bias) after a chain of `terms` fma, magnitude = sum |w| |x|.

    The accumulator is off by gamma(terms) magnitude and `terms` underflows; the scale multiplies that, the last fma
    rounds once more. Skipped zeros only leave roundings out.
    """
    n = terms + 2
    total = np.abs(scale) * magnitude + np.abs(bias)
    bound = gamma(n) * total + (terms * np.abs(scale) + 1) * SUBNORMAL
    return np.where(np.maximum(magnitude, total) * (1 + gamma(n)) <= LARGEST, bound, np.inf)


def _conv(node: Node, inputs: Operands, reference: Array) -> Doubles:
    x, weight = np.abs(double(inputs, 0)), np.abs(factors(weight_of(inputs)))
    magnitude = conv_sums(x, weight, conv_windows(node, x, weight), integer(node, "group"))
    scale, bias = (per_channel(v, reference.ndim) for v in scale_and_bias(inputs, len(weight)))
    return _dot_bound(magnitude, math.prod(weight.shape[1:]), scale, bias)


def _linear(node: Node, inputs: Operands, reference: Array) -> Doubles:
    x, weight = np.abs(double(inputs, 0)), np.abs(factors(weight_of(inputs)))
    check_linear(x, weight)
    return _dot_bound(x @ weight.T, weight.shape[1], *scale_and_bias(inputs, len(weight)))


def _matmul(node: Node, inputs: Operands, reference: Array) -> Doubles:
    a, b = np.abs(double(inputs, 0)), np.abs(double(inputs, 1))
    return _dot_bound(np.asarray(np.matmul(a, b)), a.shape[-1], np.ones(()), np.zeros(()))


def _mean_bound(magnitude: Doubles, roundings: int, divisor: Doubles | float) -> Doubles:
    """A sum of numbers with `roundings` roundings on the way to each, the division included."""
    bound = gamma(roundings + 1) * magnitude / divisor + SUBNORMAL
    return np.where(magnitude * (1 + gamma(roundings)) <= LARGEST, bound, np.inf)


def _average_pool(node: Node, inputs: Operands, reference: Array) -> Doubles:
    """n - 1 additions and a division. Adding padding is exact. Sums do not underflow: float32 additions never do."""
    x = np.abs(double(inputs, 0))
    windows = pool_windows(node, x)
    divisor = count_taps(windows, include_pad=integer(node, "count_include_pad") == 1)
    return _mean_bound(window_sums(windows, x), math.prod(windows.kernel), divisor)


def _lane_sum_roundings(n: int) -> int:
    """Additions that an element passes through: its lane's ceil(n / 8) - 1, then 3 levels of the tree over 8 lanes."""
    return max(0, -(-n // 8) - 1) + 3


def _reduce_mean(node: Node, inputs: Operands, reference: Array) -> Doubles:
    x = np.abs(double(inputs, 0))
    axes = normalize_axes(integers(node, "axes"), x.ndim)
    n = math.prod(x.shape[axis] for axis in axes)
    magnitude = x.sum(axis=axes, keepdims=integer(node, "keepdims") == 1)
    return _mean_bound(np.asarray(magnitude), _lane_sum_roundings(n) + 1, max(1, n))


def _softmax(node: Node, inputs: Operands, reference: Array) -> Doubles:
    """p_i = e_i / s with e_i = exp(t_i), t_i = x_i - max, s = sum of e_j.

    t_i is rounded once, which changes e_i by the factor exp(u |t_i|); exp adds its ulps, and may give 0 for subnormal
    results. With errors a_i of e_i and b of s (the sum of all a_j, and the roundings of the lane sum), the quotient is
    off by at most (a_i + p_i b) / (s - b), and rounds twice: once for a reciprocal, once for the product.
    """
    x = double(inputs, 0)
    (axis,) = normalize_axes([integer(node, "axis")], x.ndim)
    if x.size == 0:
        return np.zeros_like(x)
    t = x - x.max(axis=axis, keepdims=True)
    e = np.exp(t)
    relative = np.expm1(UNIT * np.minimum(np.abs(t), 1024.0)) + gamma(2 * EXP_ULPS + 1)
    a = e * relative * (1 + relative) + NORMAL
    s = e.sum(axis=axis, keepdims=True)
    summing = gamma(_lane_sum_roundings(x.shape[axis]) + 1)
    b = a.sum(axis=axis, keepdims=True) * (1 + summing) + summing * s
    quotient = (a + reference * b) / (s - b)
    return np.where(b < s, quotient + gamma(3) * (reference + quotient) + SUBNORMAL, np.inf)


def _sigmoid(node: Node, inputs: Operands, reference: Array) -> Doubles:
    """The promised ulps and one rounding of the reference; a subnormal result may be 0, as exp's."""
    return gamma(2 * SIGMOID_ULPS + 1) * reference + NORMAL


def _tanh(node: Node, inputs: Operands, reference: Array) -> Doubles:
    return gamma(2 * TANH_ULPS + 1) * np.abs(reference) + TANH_ULPS * SUBNORMAL


def _clamp_bound(v: Doubles, magnitude: Doubles) -> Doubles:
    """min(1, max(0, v)) for v = a x + b, magnitude = |a x| + |b|: two roundings, then a clamp, which is monotonic."""
    error = np.where(magnitude <= LARGEST / 8, gamma(3) * magnitude + 2 * SUBNORMAL, np.inf)
    clamped = unit_clamp(v)
    return np.maximum(unit_clamp(v + error) - clamped, clamped - unit_clamp(v - error))


def _hard_sigmoid(node: Node, inputs: Operands, reference: Array) -> Doubles:
    product, beta = real(node, "alpha") * double(inputs, 0), real(node, "beta")
    return _clamp_bound(product + beta, np.abs(product) + abs(beta))


def _hard_swish(node: Node, inputs: Operands, reference: Array) -> Doubles:
    """x times a clamp whose x / 6 may use a rounded 1 / 6 (one more rounding, hence twice the clamp's bound)."""
    x = double(inputs, 0)
    # Beyond 4 the clamp is 0 or 1 with any of these roundings, and x itself cannot overflow it.
    near = np.clip(x, -4.0, 4.0)
    clamp = 2 * _clamp_bound(near / 6 + 0.5, np.abs(near) / 6 + 0.5)
    return np.abs(x) * clamp + gamma(3) * np.abs(reference) + 2 * SUBNORMAL


def _lrn(node: Node, inputs: Operands, reference: Array) -> Doubles:
    """x / base^beta, base = bias + alpha / size * s, s = chain of `size` fma over squares.

    base is off by gamma(size + 4) of its terms' magnitudes (the chain, alpha / size, a product and a sum). The power is
    monotonic in base, so its largest change is at an end of that interval. Then the power's ulps and a division.
    """
    x, size = double(inputs, 0), integer(node, "size")
    alpha, beta, bias = real(node, "alpha"), real(node, "beta"), real(node, "bias")
    s = square_sums(x, size)
    product = alpha / size * s
    base, magnitude = bias + product, np.abs(product) + abs(bias)
    error = gamma(size + 4) * magnitude + (s + (abs(alpha) + 2) * size) * SUBNORMAL
    low, high = base - error, base + error
    powers = [end**-beta for end in (low, base, high)]
    change = np.maximum(np.abs(powers[0] - powers[1]), np.abs(powers[2] - powers[1]))
    bound = np.abs(x) * change * (1 + gamma(2 * POWER_ULPS + 2)) + gamma(2 * POWER_ULPS + 2) * np.abs(reference)
    # The power and its reciprocal must be normal numbers, or an error in ulps says nothing about the quotient.
    powered = base**beta
    safe = (low > 0) & (np.maximum(s, magnitude) <= LARGEST / 2) & (powered > 8 * NORMAL) & (powered < LARGEST / 8)
    return np.where(safe, bound + SUBNORMAL, np.inf)


_BOUNDS: dict[str, Callable[[Node, Operands, Array], Doubles]] = {
    "Conv": _conv,
    "Linear": _linear,
    "MatMul": _matmul,
    "AveragePool": _average_pool,
    "ReduceMean": _reduce_mean,
    "Softmax": _softmax,
    "Sigmoid": _sigmoid,
    "Tanh": _tanh,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "LRN": _lrn,
}
