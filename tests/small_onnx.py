"""A small trained-looking ONNX network: Conv, BatchNorm, Relu, pooling, residual, Gemm, Softmax, dynamic batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnx_models import make_model

INPUT_SHAPE = (2, 3, 20, 20)


def small_network_model() -> onnx.ModelProto:
    """About 44,000 parameters."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return (rng.laplace(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    constants = {
        "w1": weight(32, 3, 3, 3), "w2": weight(64, 32, 3, 3), "w3": weight(64, 64, 3, 3) / 2, "w4": weight(10, 64),
        "b4": rng.normal(size=10).astype(np.float32) / 10,
    }  # fmt: skip
    for i, channels in ((1, 32), (2, 64)):
        constants[f"gamma{i}"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)
        constants[f"beta{i}"] = rng.normal(size=channels).astype(np.float32) / 4
        constants[f"mean{i}"] = rng.normal(size=channels).astype(np.float32) / 4
        constants[f"var{i}"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)
    norm = [["gamma", "beta", "mean", "var"]] * 2
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", *(f"{n}1" for n in norm[0])], ["n1"], "norm1"),
        helper.make_node("Relu", ["n1"], ["r1"], "relu1"),
        helper.make_node("MaxPool", ["r1"], ["p1"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], "conv2", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c2", *(f"{n}2" for n in norm[1])], ["n2"], "norm2"),
        helper.make_node("Relu", ["n2"], ["r2"], "relu2"),
        helper.make_node("Conv", ["r2", "w3"], ["c3"], "conv3", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c3", "r2"], ["a3"], "residual"),
        helper.make_node("GlobalAveragePool", ["a3"], ["g"], "mean"),
        helper.make_node("Flatten", ["g"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w4", "b4"], ["l"], "classifier", transB=1),
        helper.make_node("Softmax", ["l"], ["y"], "softmax", axis=1),
    ]
    return make_model(nodes, {"x": ("N", *INPUT_SHAPE[1:])}, {"y": ("N", 10)}, constants)


def save_small_network(path: Path) -> tuple[int, ...]:
    """Writes the network and returns an input shape for it."""
    onnx.save(small_network_model(), str(path))
    return INPUT_SHAPE
