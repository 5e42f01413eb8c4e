"""Operators with windows (pooling, LRN), reductions and Softmax."""

from __future__ import annotations

from opq.graph import Attribute
from opq.onnx_import.builder import Builder, NotLowered, Operation


def padding(operation: Operation, spatial: int) -> dict[str, Attribute]:
    """The attributes pads and auto_pad; VALID is the same as no padding at all."""
    auto_pad = operation.text("auto_pad", "NOTSET")
    pads = operation.integers("pads", (0,) * (2 * spatial))
    if auto_pad == "VALID":
        auto_pad, pads = "NOTSET", (0,) * (2 * spatial)
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        pads = (0,) * (2 * spatial)
    elif auto_pad != "NOTSET":
        raise NotLowered(f"auto_pad {auto_pad}")
    return {"pads": pads, "auto_pad": auto_pad}


def lower_pool(builder: Builder, operation: Operation) -> None:
    """MaxPool and AveragePool with 1 or 2 spatial axes."""
    operation.check_single_output()
    kernel = operation.integers("kernel_shape")
    if len(kernel) not in (1, 2):
        raise NotLowered(f"{len(kernel)} spatial axes")
    ones = (1,) * len(kernel)
    attributes: dict[str, Attribute] = {
        "kernel_shape": kernel,
        "strides": operation.integers("strides", ones),
        "dilations": operation.integers("dilations", ones),
        **padding(operation, len(kernel)),
        "ceil_mode": operation.integer("ceil_mode", 0),
    }
    if operation.op == "AveragePool":
        attributes["count_include_pad"] = operation.integer("count_include_pad", 0)
    builder.emit(operation.op, operation.name, operation.inputs, operation.outputs[0], attributes)


def lower_global_average_pool(builder: Builder, operation: Operation) -> None:
    """The mean over the spatial axes."""
    axes = tuple(range(2, builder.rank(operation.inputs[0])))
    if not axes:
        builder.alias(operation.outputs[0], operation.inputs[0])
        return
    attributes: dict[str, Attribute] = {"axes": axes, "keepdims": 1}
    builder.emit("ReduceMean", operation.name, operation.inputs, operation.outputs[0], attributes)


def lower_reduce_mean(builder: Builder, operation: Operation) -> None:
    """Axes are an attribute up to opset 17, an input from 18 on; none means all."""
    x = operation.inputs[0]
    axes = operation.integers("axes")
    if operation.input(1):
        axes = builder.integers(operation.input(1), "its list of axes")
    if not axes and operation.integer("noop_with_empty_axes", 0):
        builder.alias(operation.outputs[0], x)
        return
    axes = axes or tuple(range(builder.rank(x)))
    attributes: dict[str, Attribute] = {"axes": axes, "keepdims": operation.integer("keepdims", 1)}
    builder.emit("ReduceMean", operation.name, (x,), operation.outputs[0], attributes)


def lower_softmax(builder: Builder, operation: Operation) -> None:
    """Along one axis from opset 13 on; before, over all axes from `axis` on together."""
    x, name, output = operation.inputs[0], operation.name, operation.outputs[0]
    if builder.opset >= 13:
        builder.emit("Softmax", name, (x,), output, {"axis": operation.integer("axis", -1)})
        return
    shape = builder.shape(x)
    axis = operation.integer("axis", 1)
    axis += len(shape) if axis < 0 else 0
    if not 0 <= axis <= len(shape):
        raise NotLowered(f"axis {axis} of {len(shape)}")
    if axis == len(shape) - 1 or shape[axis + 1 :] == (1,) * (len(shape) - axis - 1):
        builder.emit("Softmax", name, (x,), output, {"axis": axis})
        return
    # Both reshapes copy the axes before `axis` (0); of the others at most one is inferred.
    back = (0,) * axis + tuple(size if isinstance(size, int) else -1 for size in shape[axis:])
    if back.count(-1) > 1 or 0 in back[axis:]:
        raise NotLowered("more than one unknown dimension from its axis on, before opset 13")
    flat_shape = (*(0,) * axis, -1)
    flat = builder.emit("Reshape", f"{name}.flat", (x,), builder.fresh(f"{output}.flat"), {"shape": flat_shape, "allowzero": 0})
    soft = builder.emit("Softmax", name, (flat,), builder.fresh(f"{output}.soft"), {"axis": axis})
    builder.emit("Reshape", f"{name}.back", (soft,), output, {"shape": back, "allowzero": 0})


def lower_lrn(builder: Builder, operation: Operation) -> None:
    """Local response normalization across channels."""
    attributes: dict[str, Attribute] = {
        "size": operation.integer("size", 1),
        "alpha": operation.number("alpha", 1e-4),
        "beta": operation.number("beta", 0.75),
        "bias": operation.number("bias", 1.0),
    }
    builder.emit("LRN", operation.name, operation.inputs, operation.outputs[0], attributes)
