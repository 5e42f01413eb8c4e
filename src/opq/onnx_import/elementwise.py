"""Elementwise operators, and those that do nothing at inference."""

from __future__ import annotations

import math

from opq.graph import Attribute
from opq.onnx_import.builder import Builder, NotLowered, Operation
from opq.onnx_import.inference import is_float_type


def lower_plain(builder: Builder, operation: Operation) -> None:
    """Same operator, no attributes: Relu, Sigmoid, Tanh, HardSwish, Add, Sub, Mul, Div."""
    builder.emit(operation.op, operation.name, operation.inputs, operation.outputs[0])


def lower_leaky_relu(builder: Builder, operation: Operation) -> None:
    """x where x >= 0, else alpha x."""
    attributes: dict[str, Attribute] = {"alpha": operation.number("alpha", 0.01)}
    builder.emit("LeakyRelu", operation.name, operation.inputs, operation.outputs[0], attributes)


def lower_hard_sigmoid(builder: Builder, operation: Operation) -> None:
    """min(1, max(0, alpha x + beta))."""
    attributes: dict[str, Attribute] = {"alpha": operation.number("alpha", 0.2), "beta": operation.number("beta", 0.5)}
    builder.emit("HardSigmoid", operation.name, operation.inputs, operation.outputs[0], attributes)


def lower_clip(builder: Builder, operation: Operation) -> None:
    """Bounds are attributes up to opset 10, inputs from 11 on."""
    if builder.opset < 11:
        low, high = operation.number("min", -math.inf), operation.number("max", math.inf)
    else:
        low = builder.scalar(operation.input(1), "its minimum", -math.inf)
        high = builder.scalar(operation.input(2), "its maximum", math.inf)
    attributes: dict[str, Attribute] = {"min": low, "max": high}
    builder.emit("Clip", operation.name, operation.inputs[:1], operation.outputs[0], attributes)


def lower_identity(builder: Builder, operation: Operation) -> None:
    """Identity, and Dropout at inference: the output is another name of the input."""
    operation.check_single_output()
    training_mode = operation.input(2)
    if training_mode and builder.constant(training_mode, "training_mode").any():
        raise NotLowered("training_mode")
    builder.alias(operation.outputs[0], operation.inputs[0])


def lower_cast(builder: Builder, operation: Operation) -> None:
    """Between float types: all of them are float32 here."""
    source = builder.types.get(operation.inputs[0], 0)
    if not (is_float_type(source) and is_float_type(operation.integer("to", 0))):
        raise NotLowered("not between float types")
    builder.alias(operation.outputs[0], operation.inputs[0])
