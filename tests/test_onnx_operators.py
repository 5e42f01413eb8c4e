"""Every operator against ONNX Runtime: random shapes and attributes, in the form it has in each opset from 9 to 21."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import NodeProto, helper
from onnx_models import Array, make_model, normal, run_reference, run_runtime

from opq.onnx_import import load_onnx

OPSETS = (9, 10, 11, 12, 13, 14, 17, 18, 19, 21)
SIZES = st.integers(1, 9)


@dataclass
class Case:
    nodes: Sequence[NodeProto]
    feeds: Mapping[str, Array]
    constants: Mapping[str, Array] = field(default_factory=dict)
    dynamic: bool = True  # whether sizes may be unknown at import


Make = Callable[[st.DataObject, int], Case]


def one(op: str, x: Array, constants: Mapping[str, Array] | None = None, **attributes: Any) -> Case:
    """A node that reads x and the constants, in their order."""
    constants = constants or {}
    return Case([helper.make_node(op, ["x", *constants], ["y"], **attributes)], {"x": x}, constants)


def shape(data: st.DataObject, low: int = 1, high: int = 4) -> list[int]:
    return data.draw(st.lists(SIZES, min_size=low, max_size=high))


def window(data: st.DataObject, spatial: int, dilated: bool) -> tuple[dict[str, Any], list[int]]:
    """Attributes of a window, and sizes of an image that is not smaller than it."""

    def numbers(low: int, high: int, count: int = spatial) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    kernel, strides = numbers(1, 3), numbers(1, 3)
    dilations = numbers(1, 2) if dilated else [1] * spatial
    sizes = [(k - 1) * d + 1 + extra for k, d, extra in zip(kernel, dilations, numbers(0, 6), strict=True)]
    attributes = {"kernel_shape": kernel, "strides": strides}
    if dilated:
        attributes["dilations"] = dilations
    auto_pad = data.draw(st.sampled_from(["", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if auto_pad in ("", "NOTSET"):
        attributes["pads"] = [min(pad, k - 1) for pad, k in zip(numbers(0, 2, 2 * spatial), kernel * 2, strict=True)]
    if auto_pad:
        attributes["auto_pad"] = auto_pad
    if auto_pad.startswith("SAME"):
        # ONNX Runtime refuses dilated windows and gaps between windows here.
        attributes.pop("dilations", None)
        attributes["strides"] = [min(stride, k) for stride, k in zip(strides, kernel, strict=True)]
    return attributes, sizes


def conv(data: st.DataObject, opset: int) -> Case:
    spatial = data.draw(st.integers(1, 2))
    attributes, sizes = window(data, spatial, dilated=True)
    group = data.draw(st.integers(1, 4))
    per_group, filters = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    weights = {"w": normal([filters * group, per_group, *attributes["kernel_shape"]])}
    if data.draw(st.booleans()):
        weights["b"] = normal([filters * group], seed=1)
    x = normal([data.draw(st.integers(1, 2)), per_group * group, *sizes], seed=2)
    return one("Conv", x, weights, group=group, **attributes)


def pool(op: str) -> Make:
    def make(data: st.DataObject, opset: int) -> Case:
        attributes, sizes = window(data, data.draw(st.integers(1, 2)), dilated=op == "MaxPool" and opset >= 10)
        if opset >= 10 and "pads" in attributes:
            attributes["ceil_mode"] = data.draw(st.integers(0, 1))
        if op == "AveragePool":
            attributes["count_include_pad"] = data.draw(st.integers(0, 1))
        return one(op, normal([2, 3, *sizes]), **attributes)

    return make


def gemm(data: st.DataObject, opset: int) -> Case:
    m, k, n = data.draw(SIZES), data.draw(SIZES), data.draw(SIZES)
    trans_a, trans_b = data.draw(st.integers(0, 1)), data.draw(st.integers(0, 1))
    attributes = {"transA": trans_a, "transB": trans_b}
    attributes |= data.draw(st.sampled_from([{}, {"alpha": 0.5}, {"alpha": -2.0, "beta": 0.25}, {"beta": 3.0}]))
    operands = {
        "x": normal([k, m] if trans_a else [m, k]),
        "b": normal([n, k] if trans_b else [k, n], seed=1),
        "c": normal(data.draw(st.sampled_from([[n], [1, n], [m, n], [m, 1], [1], []])), seed=2),
    }
    if opset >= 11 and data.draw(st.booleans()):
        del operands["c"]
    constant = {name for name in operands if name != "x" and data.draw(st.booleans())}
    return Case(
        [helper.make_node("Gemm", list(operands), ["y"], **attributes)],
        {name: array for name, array in operands.items() if name not in constant},
        {name: array for name, array in operands.items() if name in constant},
    )


def matmul(data: st.DataObject, opset: int) -> Case:
    m, k, n = data.draw(SIZES), data.draw(SIZES), data.draw(SIZES)
    x = normal([*shape(data, 0, 2), m, k])
    other = normal(data.draw(st.sampled_from([[k, n], [k], [*x.shape[:-2], k, n]])), seed=1)
    if data.draw(st.booleans()):
        return one("MatMul", x, {"w": other})
    return Case([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": x, "w": other})


def batch_normalization(data: st.DataObject, opset: int) -> Case:
    x = normal([*shape(data, 2, 4)])
    c = x.shape[1]
    constants = {name: normal([c], seed) for seed, name in enumerate(["gamma", "beta", "mean"], start=1)}
    constants["variance"] = np.abs(normal([c], seed=4)) + np.float32(0.1)
    return one("BatchNormalization", x, constants, epsilon=data.draw(st.sampled_from([1e-5, 1e-3])))


def binary(op: str) -> Make:
    def make(data: st.DataObject, opset: int) -> Case:
        a = shape(data)
        b = [size if data.draw(st.booleans()) else 1 for size in a][data.draw(st.integers(0, len(a))) :]
        x, other = normal(a), np.asarray(np.abs(normal(b, seed=1)) + np.float32(0.5))
        if data.draw(st.booleans()):
            x, other = other, np.abs(x) + np.float32(0.5)
        if data.draw(st.booleans()):
            return one(op, x, {"b": other})
        return Case([helper.make_node(op, ["x", "b"], ["y"])], {"x": x, "b": other})

    return make


def unary(op: str, **choices: Sequence[float]) -> Make:
    def make(data: st.DataObject, opset: int) -> Case:
        attributes = {key: data.draw(st.sampled_from(values)) for key, values in choices.items()}
        return one(op, 3 * normal(shape(data)), **attributes)

    return make


def clip(data: st.DataObject, opset: int) -> Case:
    bounds = data.draw(st.sampled_from([{}, {"min": -0.5}, {"max": 1.0}, {"min": 0.0, "max": 6.0}]))
    x = 3 * normal(shape(data))
    if opset < 11:
        return one("Clip", x, **bounds)
    names = ["x", *(name if name in bounds else "" for name in ("min", "max"))]
    constants = {name: np.array(value, np.float32) for name, value in bounds.items()}
    return Case([helper.make_node("Clip", names, ["y"])], {"x": x}, constants)


def softmax(data: st.DataObject, opset: int) -> Case:
    x = normal(shape(data))
    if x.ndim > 1 and data.draw(st.booleans()):
        case = one("Softmax", x)  # the default axis before opset 13 is 1
    else:
        case = one("Softmax", x, axis=data.draw(st.integers(-x.ndim, x.ndim - 1)))
    case.dynamic = opset >= 13  # before, several axes are flattened, of which at most one may be unknown
    return case


def reduce_mean(data: st.DataObject, opset: int) -> Case:
    x = normal(shape(data))
    axes = data.draw(st.lists(st.integers(0, x.ndim - 1), unique=True))
    axes = [axis - x.ndim if opset >= 11 and data.draw(st.booleans()) else axis for axis in axes]
    keepdims = data.draw(st.integers(0, 1))
    if opset < 18:
        return one("ReduceMean", x, keepdims=keepdims, **({"axes": axes} if axes else {}))
    constants = {"axes": np.array(axes, np.int64)}
    return one("ReduceMean", x, constants, keepdims=keepdims, noop_with_empty_axes=data.draw(st.integers(0, 1)))


def pad(data: st.DataObject, opset: int) -> Case:
    x = normal([size + 2 for size in shape(data)])
    mode = data.draw(st.sampled_from(["constant", "edge", "reflect", *(["wrap"] if opset >= 19 else [])]))
    axes = list(range(x.ndim))
    if opset >= 18 and data.draw(st.booleans()):
        axes = data.draw(st.lists(st.sampled_from(axes), min_size=1, unique=True))
    count = 2 * len(axes)
    low = -1 if mode == "constant" else 0
    pads = data.draw(st.lists(st.integers(low, 2), min_size=count, max_size=count))
    if opset < 11:
        return one("Pad", x, mode=mode, pads=pads, value=1.5)
    constants = {"pads": np.array(pads, np.int64), "value": np.array(1.5, np.float32)}
    if len(axes) < x.ndim:
        constants["axes"] = np.array(axes, np.int64)
    return one("Pad", x, constants, mode=mode)


def concat(data: st.DataObject, opset: int) -> Case:
    sizes = shape(data)
    axis = data.draw(st.integers(0, len(sizes) - 1))
    count = data.draw(st.integers(1, 4))
    arrays = {f"x{i}": normal([*sizes[:axis], i + 1, *sizes[axis + 1 :]], i) for i in range(count)}
    axis = axis - len(sizes) if opset >= 11 and data.draw(st.booleans()) else axis
    return Case([helper.make_node("Concat", list(arrays), ["y"], axis=axis)], arrays)


def flatten(data: st.DataObject, opset: int) -> Case:
    x = normal(shape(data))
    return one("Flatten", x, axis=data.draw(st.integers(0, x.ndim)))


def reshape(data: st.DataObject, opset: int) -> Case:
    x = normal(shape(data, 2, 4))
    target = data.draw(st.sampled_from([[-1], [0, -1], [*x.shape], [1, *x.shape, 1], [x.size], [0, 0, -1]]))
    return one("Reshape", x, {"shape": np.array(target, np.int64)})


def squeeze(data: st.DataObject, opset: int) -> Case:
    x = normal([size for n in shape(data) for size in (1, n)])
    # Sorted, because the shape inference of `onnx` is wrong for others before opset 11.
    axes = sorted(data.draw(st.lists(st.integers(0, x.ndim // 2 - 1), unique=True)))
    axes = [2 * axis - (x.ndim if opset >= 11 else 0) for axis in axes]
    if not axes or opset < 13:
        case = one("Squeeze", x, **({"axes": axes} if axes else {}))
        case.dynamic = bool(axes)  # without axes the rank of the result depends on the sizes
        return case
    return one("Squeeze", x, {"axes": np.array(axes, np.int64)})


def unsqueeze(data: st.DataObject, opset: int) -> Case:
    x = normal(shape(data, 1, 3))
    axes = data.draw(st.lists(st.integers(0, x.ndim), min_size=1, unique=True))
    return one("Unsqueeze", x, axes=axes) if opset < 13 else one("Unsqueeze", x, {"axes": np.array(axes, np.int64)})


def transpose(data: st.DataObject, opset: int) -> Case:
    x = normal(shape(data))
    perm = data.draw(st.permutations(range(x.ndim)))
    return one("Transpose", x, **data.draw(st.sampled_from([{}, {"perm": perm}])))


def lrn(data: st.DataObject, opset: int) -> Case:
    size = data.draw(st.sampled_from([1, 3, 5]))
    return one("LRN", normal([2, data.draw(SIZES), 3, 2]), size=size, alpha=0.01, beta=0.6, bias=1.5)


def global_average_pool(data: st.DataObject, opset: int) -> Case:
    return one("GlobalAveragePool", normal(shape(data, 3, 4)))


OPERATORS: dict[str, Make] = {
    "Conv": conv, "Gemm": gemm, "MatMul": matmul, "BatchNormalization": batch_normalization,
    **{op: unary(op) for op in ("Relu", "Sigmoid", "Tanh", "Identity", "Dropout")},
    "HardSwish": unary("HardSwish"),
    "LeakyRelu": unary("LeakyRelu", alpha=(0.01, 0.2)),
    "HardSigmoid": unary("HardSigmoid", alpha=(0.2, 1 / 6), beta=(0.5, 0.4)),
    **{op: binary(op) for op in ("Add", "Sub", "Mul", "Div")},
    "Clip": clip, "Softmax": softmax, "MaxPool": pool("MaxPool"), "AveragePool": pool("AveragePool"),
    "GlobalAveragePool": global_average_pool, "ReduceMean": reduce_mean, "LRN": lrn, "Pad": pad, "Concat": concat,
    "Flatten": flatten, "Reshape": reshape, "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Transpose": transpose,
}  # fmt: skip


@pytest.mark.parametrize(
    ("op", "opset"), [(op, opset) for op in OPERATORS for opset in OPSETS if op != "HardSwish" or opset >= 14]
)
@given(data=st.data())
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_operator_against_onnx_runtime(op: str, opset: int, data: st.DataObject) -> None:
    case = OPERATORS[op](data, opset)
    # Every other axis is dynamic, so that nothing depends on known sizes.
    dynamic = case.dynamic and data.draw(st.booleans())
    inputs = {
        name: [f"{name}_{axis}" if dynamic and axis % 2 == 0 else size for axis, size in enumerate(array.shape)]
        for name, array in case.feeds.items()
    }
    model = make_model(case.nodes, inputs, {"y": None}, case.constants, opset)
    [want] = run_runtime(model, case.feeds)
    [got] = run_reference(load_onnx(model), case.feeds)
    assert got.shape == want.shape
    # At most 3 * 9 terms of magnitude 10 are added, each rounded: 27 * 2^-24 * 27 * 10 < 1e-3 in the worst case; the
    # errors of real sums are a hundred times smaller.
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
