"""Small networks for tests: a fixed one with every kind of section, and random ones drawn by hypothesis."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import strategies as st

from opq.compressed import CompressedModel
from opq.graph import Graph, Node, ValueInfo
from opq.quantization import QuantizedTensor
from opq.reference.half_precision import round_to


def conv(name, x, y, *extra, kernel=2, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), group=1, auto_pad="NOTSET"):
    """A Conv node; `extra` are scale and bias."""
    attributes = {"strides": strides, "dilations": dilations, "pads": pads, "auto_pad": auto_pad, "group": group}
    return Node("Conv", name, (x, f"{name}.weight", *extra), (y,), attributes)


def random_codes(rng, shape, levels, sparsity):
    """Codes of a random layer; about half of the draws have an empty row."""
    codes = rng.integers(1, levels + 1, size=shape) * rng.choice([-1, 1], size=shape) * (rng.random(shape) >= sparsity)
    if rng.random() < 0.5:
        codes[rng.integers(shape[0])] = 0
    return codes.astype(np.int8)


def quantized(rng, shape, levels, sparsity, channel_scales=True):
    """A random QuantizedTensor with channel axis 0."""
    scale = rng.lognormal(size=shape[0]).astype(np.float32) if channel_scales else None
    step = float(np.float32(rng.uniform(0.01, 0.3)))
    return QuantizedTensor(random_codes(rng, shape, levels, sparsity), step, levels, scale, 0 if channel_scales else None)


def small_network(seed=0):
    """Conv, Relu, residual Add, pooling, Linear and Softmax in a few hundred bytes; floats in four bytes and in two."""
    rng = np.random.default_rng(seed)
    tensors = {
        "c1.weight": quantized(rng, (4, 3, 3, 3), 3, 0.5),
        "c1.scale": round_to(rng.lognormal(size=4).astype(np.float32), "bfloat16"),
        "c1.bias": round_to(rng.normal(size=4).astype(np.float32), "float16"),
        "c2.weight": rng.normal(size=(4, 4, 1, 1)).astype(np.float32),
        "fc.weight": quantized(rng, (5, 4), 127, 0.0, channel_scales=False),
        "unused": dataclasses.replace(quantized(rng, (2, 3), 1, 0.0), scale=np.array([1.5, -0.25], np.float32)),
        "indices": np.array([3, 1], dtype=np.int64),
    }
    nodes = (
        conv("c1", "x", "a", "c1.scale", "c1.bias", pads=(1, 1, 1, 1)),
        Node("Relu", "relu", ("a",), ("b",)),
        conv("c2", "b", "c"),
        Node("Add", "add", ("c", "b"), ("d",)),
        Node("ReduceMean", "mean", ("d",), ("e",), {"axes": (2, 3), "keepdims": 0}),
        Node("Linear", "fc", ("e", "fc.weight"), ("f",)),
        Node("Softmax", "softmax", ("f",), ("y",), {"axis": -1}),
    )
    graph = Graph((ValueInfo("x", "float32", ("N", 3, None, 6)),), (ValueInfo("y", "float32", ("N", 5)),), nodes)
    return CompressedModel(graph, tensors, {"dense_bytes": 1000, "budget": {"ratio": 4.0}, "layers": {}})


@st.composite
def random_networks(draw):
    """(model, input) with convolutions of every kind, activations, residuals, pooling, and a Linear or none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape, value = (draw(st.integers(1, 20)), draw(st.integers(1, 20)), draw(st.integers(1, 20))), "x"
    x = rng.normal(size=(draw(st.integers(1, 3)), *shape)).astype(np.float32)
    tensors, nodes = {}, []
    for i in range(draw(st.integers(1, 5))):
        kind = draw(
            st.sampled_from(["conv", "conv", "pointwise", "pointwise", "depthwise", "grouped", "pool", "residual", "scale"])
        )
        c, h, w = shape
        before, output = value, f"v{i}"
        if kind in ("conv", "pointwise", "depthwise", "grouped"):
            group = {"depthwise": c, "grouped": next(g for g in (3, 2, 5, 1) if c % g == 0)}.get(kind, 1)
            rows = group * draw(st.sampled_from([1, 1, 2, 5])) if group > 1 else draw(st.sampled_from([1, 2, 7, 8, 9, 30]))
            kh, kw = (1, 1) if kind == "pointwise" else (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
            stride = (
                (1, 1) if kind == "pointwise" and draw(st.booleans()) else (draw(st.integers(1, 3)), draw(st.integers(1, 2)))
            )
            dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
            auto = draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER"])) if kh * kw > 1 else "NOTSET"
            need_h, need_w = dilation[0] * (kh - 1) + 1, dilation[1] * (kw - 1) + 1
            top, left = draw(st.integers(0, 2)), draw(st.integers(0, 2))
            pads = (top, left, max(0, need_h - h - top), max(0, need_w - w - left)) if auto == "NOTSET" else (0, 0, 0, 0)
            if kind == "pointwise" and draw(st.booleans()):
                pads = (0, 0, 0, 0)
            levels = draw(st.sampled_from([1, 2, 7, 15, 127]))
            weight_shape = (rows, c // group, kh, kw)
            if draw(st.integers(0, 4)) == 0:
                tensors[f"n{i}.weight"] = rng.normal(size=weight_shape).astype(np.float32)
            else:
                tensors[f"n{i}.weight"] = quantized(
                    rng, weight_shape, levels, draw(st.sampled_from([0, 0.5, 0.9, 1])), draw(st.booleans())
                )
            extra = []
            for part in ("scale", "bias"):
                extra.append(f"n{i}.{part}" if draw(st.booleans()) else "")
                if extra[-1]:
                    tensors[extra[-1]] = rng.normal(size=rows).astype(np.float32)
            while extra and not extra[-1]:
                extra.pop()
            nodes.append(
                conv(f"n{i}", value, output, *extra, strides=stride, pads=pads, dilations=dilation, group=group, auto_pad=auto)
            )
            if auto == "NOTSET":
                out = ((h + pads[0] + pads[2] - need_h) // stride[0] + 1, (w + pads[1] + pads[3] - need_w) // stride[1] + 1)
            else:
                out = (-(-h // stride[0]), -(-w // stride[1]))
            shape, value = (rows, *out), output
        elif kind == "pool":
            k = (draw(st.integers(1, min(3, h))), draw(st.integers(1, min(3, w))))
            attributes = {
                "kernel_shape": k, "strides": (draw(st.integers(1, 2)), 1), "dilations": (1, 1), "pads": (0, 0, 0, 0),
                "auto_pad": "NOTSET", "ceil_mode": 0,
            }  # fmt: skip
            op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
            if op == "AveragePool":
                attributes["count_include_pad"] = 0
            nodes.append(Node(op, f"n{i}", (value,), (output,), attributes))
            shape = (c, (h - k[0]) // attributes["strides"][0] + 1, w - k[1] + 1)
            value = output
        elif kind == "residual":
            tensors[f"n{i}.weight"] = quantized(rng, (c, c, 1, 1), 7, 0.8)
            nodes.append(conv(f"n{i}", value, f"{output}.conv"))
            nodes.append(Node("Add", f"n{i}.add", draw(st.permutations([f"{output}.conv", before]).map(tuple)), (output,)))
            value = output
        else:
            tensors[f"n{i}.c"] = rng.normal(size=(c, 1, 1)).astype(np.float32)
            nodes.append(Node(draw(st.sampled_from(["Mul", "Sub", "Add"])), f"n{i}", (value, f"n{i}.c"), (output,)))
            value = output
        activation = draw(st.sampled_from([None, "Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid"]))
        if activation:
            attributes = {
                "Clip": {"min": -0.5, "max": 6.0}, "LeakyRelu": {"alpha": 0.125}, "HardSigmoid": {"alpha": 0.25, "beta": 0.5},
            }.get(activation, {})  # fmt: skip
            nodes.append(Node(activation, f"n{i}.act", (value,), (f"{output}.act",), attributes))
            value = f"{output}.act"
    outputs = [ValueInfo(value, "float32", (None, *shape))]
    if draw(st.booleans()):
        tensors["fc.weight"] = quantized(
            rng, (draw(st.sampled_from([1, 10, 65])), int(np.prod(shape))), 7, draw(st.sampled_from([0.2, 0.9]))
        )
        nodes.append(Node("Flatten", "flatten", (value,), ("flat",), {"axis": 1}))
        nodes.append(Node("Linear", "fc", ("flat", "fc.weight"), ("logits",)))
        outputs.append(ValueInfo("logits", "float32", (None, tensors["fc.weight"].shape[0])))
    graph = Graph((ValueInfo("x", "float32", ("N", *x.shape[1:])),), tuple(outputs), tuple(nodes))
    return CompressedModel(graph, tensors, {}), x


@st.composite
def depthwise_networks(draw):
    """(CompressedModel, input): one depthwise convolution of any geometry, the usual ones more often."""
    steps = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel = draw(st.sampled_from([(3, 3), (3, 3), (5, 5), (2, 4), (1, 3), (3, 1), (4, 7)]))
    strides = draw(st.one_of(st.sampled_from([(1, 1), (2, 2)]), steps))
    dilations = draw(st.sampled_from([(1, 1), (1, 1), (1, 2), (2, 1), (3, 3)]))
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    channels, multiplier = draw(st.tuples(st.integers(1, 40), st.integers(1, 2)))
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    least = [max(1, span - sum(pads[axis::2])) for axis, span in enumerate(spans)]
    size = draw(st.tuples(*(st.integers(a, a + most) for a, most in zip(least, (30, 150), strict=True))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = channels * multiplier
    levels = draw(st.sampled_from([7, 127]))  # of 127: several segments, or passes, in a row
    tensors = {
        "c.weight": quantized(rng, (rows, 1, *kernel), levels, 0.2),
        "c.bias": rng.normal(size=rows).astype(np.float32),
    }
    geometry = {"strides": strides, "pads": pads, "dilations": dilations, "group": channels}
    nodes = [conv("c", "x", "a", "", "c.bias", **geometry), Node("Relu", "relu", ("a",), ("y",))]
    if draw(st.booleans()) and multiplier == 1:  # the input of the same shape is added, where it has it
        outputs = [(n + sum(pads[axis::2]) - spans[axis]) // strides[axis] + 1 for axis, n in enumerate(size)]
        if tuple(outputs) == size:
            nodes[1:1] = [Node("Add", "add", ("a", "x"), ("b",))]
            nodes[2] = Node("Relu", "relu", ("b",), ("y",))
    inputs, outputs = ValueInfo("x", "float32", ("N", channels, *size)), ValueInfo("y", "float32", (None,) * 4)
    x = rng.normal(size=(2, channels, *size)).astype(np.float32)
    return CompressedModel(Graph((inputs,), (outputs,), tuple(nodes)), tensors), x
