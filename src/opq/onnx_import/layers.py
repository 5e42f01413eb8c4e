"""Conv, Gemm, MatMul and BatchNormalization.

Everything that follows a layer as a per-channel constant is emitted as Mul and Add with float64 constants here;
absorption turns it into the layer's scale and bias, in float64, rounded once.
"""

from __future__ import annotations

import numpy as np

from opq.graph import Attribute
from opq.moments import Moments
from opq.onnx_import.builder import Builder, NotLowered, Operation
from opq.onnx_import.tensors import Array, to_float64
from opq.onnx_import.windows import padding


def lower_conv(builder: Builder, operation: Operation) -> None:
    """Conv with 1 or 2 spatial axes."""
    x, weight, bias = operation.input(0), operation.input(1), operation.input(2)
    kernel = builder.constant(weight, "its weight").shape[2:]
    if len(kernel) not in (1, 2):
        raise NotLowered(f"{len(kernel)} spatial axes")
    if operation.has("kernel_shape") and operation.integers("kernel_shape") != kernel:
        raise NotLowered("kernel_shape is not that of its weight")
    if bias:
        builder.constant(bias, "its bias")
    ones = (1,) * len(kernel)
    attributes: dict[str, Attribute] = {
        "strides": operation.integers("strides", ones),
        "dilations": operation.integers("dilations", ones),
        **padding(operation, len(kernel)),
        "group": operation.integer("group", 1),
    }
    builder.emit("Conv", operation.name, (x, weight, "", bias), operation.outputs[0], attributes)


def lower_gemm(builder: Builder, operation: Operation) -> None:
    """Y = alpha A' B' + beta C, with A' and B' transposed if transA and transB say so."""
    a, b, c = operation.input(0), operation.input(1), operation.input(2)
    alpha, beta = operation.number("alpha", 1.0), operation.number("beta", 1.0)
    name, output = operation.name, operation.outputs[0]

    def intermediate(part: str) -> str:
        return builder.fresh(f"{output}.{part}")

    if beta == 0.0:
        c = ""
    steps_left = [step for step, needed in (("product", True), ("scaled", alpha != 1.0), ("sum", bool(c))) if needed]

    def step(part: str) -> str:
        """Name of the value that a step makes: the last one makes the output."""
        return output if part == steps_left[-1] else intermediate(part)

    if operation.integer("transA", 0):
        a = builder.emit("Transpose", f"{name}.a", (a,), intermediate("a"), {"perm": (1, 0)})
    transposed = bool(operation.integer("transB", 0))
    if b in builder.constants and a not in builder.constants:
        weight = b if transposed else builder.transposed(b)
        value = builder.emit("Linear", name, (a, weight), step("product"))
    else:
        if transposed:
            b = builder.emit("Transpose", f"{name}.b", (b,), intermediate("b"), {"perm": (1, 0)})
        value = builder.emit("MatMul", name, (a, b), step("product"))
    if alpha != 1.0:
        factor = builder.tensor(f"{name}.alpha", np.array(alpha))
        value = builder.emit("Mul", f"{name}.alpha", (value, factor), step("scaled"))
    if c:
        if beta != 1.0:
            if c in builder.constants:
                c = builder.tensor(f"{c}.beta", to_float64(builder.constants[c]) * beta)
            else:
                factor = builder.tensor(f"{name}.beta", np.array(beta))
                c = builder.emit("Mul", f"{name}.beta", (c, factor), intermediate("c"))
        builder.emit("Add", f"{name}.bias", (value, c), step("sum"))


def lower_matmul(builder: Builder, operation: Operation) -> None:
    """A constant matrix on the right makes a Linear layer with the transposed weight."""
    a, b = operation.inputs
    if b in builder.constants and builder.constants[b].ndim == 2 and a not in builder.constants:
        builder.emit("Linear", operation.name, (a, builder.transposed(b)), operation.outputs[0])
    else:
        builder.emit("MatMul", operation.name, (a, b), operation.outputs[0])


def lower_batch_normalization(builder: Builder, operation: Operation) -> None:
    """y = x s + (beta - mean s) with s = gamma / sqrt(variance + epsilon), per channel (axis 1)."""
    if operation.integer("training_mode", 0):
        raise NotLowered("training_mode")
    operation.check_single_output()
    x, *parameters = operation.inputs
    gamma, beta, mean, variance = (_vector(builder, parameter) for parameter in parameters)
    if not gamma.size == beta.size == mean.size == variance.size:
        raise NotLowered("its parameters have different lengths")
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + operation.number("epsilon", 1e-5))
        shift = beta - mean * scale
    shape = (-1, *(1,) * (builder.rank(x) - 2))
    name, output = operation.name, operation.outputs[0]
    factor = builder.tensor(f"{name}.scale", scale.reshape(shape))
    term = builder.tensor(f"{name}.bias", shift.reshape(shape))
    scaled = builder.emit("Mul", name, (x, factor), builder.fresh(f"{output}.scaled"))
    builder.emit("Add", f"{name}.bias", (scaled, term), output)
    with np.errstate(all="ignore"):
        spread = scale**2 * variance  # gamma^2, but for epsilon
    if np.isfinite(beta).all() and np.isfinite(spread).all():
        builder.moments[output] = Moments(beta, spread)


def _vector(builder: Builder, name: str) -> Array:
    array = builder.constant(name, "a parameter")
    if array.ndim != 1:
        raise NotLowered("a parameter is not a vector")
    return to_float64(array)
