"""Builds an ONNX model layer by layer, with seeded Laplace weights and BatchNorm statistics that fit them.

Every method adds nodes and returns the name of their result. Beside the graph it keeps, per value, the number of
channels and an estimate of the mean square, so that the activations of a deep network keep a sane range:
a layer's output has the variance sum_k w_k^2 * mean square of its input, which becomes the running variance of the
BatchNorm behind it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array = npt.NDArray[np.float32]

_CHANNEL_SPREAD = 0.5  # sigma of the logarithm of a channel's scale: trained convolutions show 0.3 to 0.7


@dataclass(frozen=True)
class _Value:
    channels: int
    mean_square: float
    variance: npt.NDArray[np.float64] | None = None  # per channel, of a layer's output


class SyntheticNetwork:
    """A network under construction; `sparsity` zeroes the smallest weights, not of the first and depthwise layers."""

    def __init__(self, seed: int, sparsity: float = 0.0) -> None:
        if not 0.0 <= sparsity <= 1.0:
            raise ValueError(f"sparsity {sparsity} is not between 0 and 1")
        self._rng = np.random.default_rng(seed)
        self._sparsity = sparsity
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._values: dict[str, _Value] = {}
        self._layers = 0

    def input(self, name: str, channels: int) -> str:
        """A graph input with normalized pixels."""
        self._values[name] = _Value(channels, mean_square=1.0)
        return name

    def conv(
        self, name: str, x: str, channels: int, kernel: int,
        stride: int = 1, padding: int = 0, groups: int = 1, bias: bool = True,
    ) -> str:  # fmt: skip
        """weight [channels, C / groups, kernel, kernel]"""
        source = self._values[x]
        inputs = [x, self._weight(name, (channels, source.channels // groups, kernel, kernel), source.mean_square)]
        inputs += [self._bias(name, channels)] if bias else []
        pads, sizes, strides = [padding] * 4, [kernel] * 2, [stride] * 2
        return self._node(
            "Conv", inputs, self._values[inputs[1]], name, kernel_shape=sizes, strides=strides, pads=pads, group=groups
        )

    def linear(self, name: str, x: str, features: int) -> str:
        """Gemm with weight [features, K]"""
        source = self._values[x]
        weight = self._weight(name, (features, source.channels), source.mean_square)
        return self._node("Gemm", [x, weight, self._bias(name, features)], self._values[weight], name, transB=1)

    def batch_norm(self, name: str, x: str, gamma: float = 1.0) -> str:
        """Running statistics are those that the weights of the layer before lead to."""
        source = self._values[x]
        assert source.variance is not None, "BatchNorm follows a layer"
        n, rng = source.channels, self._rng
        deviation = np.sqrt(source.variance)
        parameters = {
            "gamma": gamma * np.exp(0.2 * rng.standard_normal(n)),
            "beta": 0.2 * rng.standard_normal(n),
            "mean": 0.2 * deviation * rng.standard_normal(n),
            "var": source.variance * np.exp(0.2 * rng.standard_normal(n)),
        }
        inputs = [x, *(self._initializer(f"{name}.{key}", value) for key, value in parameters.items())]
        return self._node("BatchNormalization", inputs, _Value(n, gamma**2), name, epsilon=1e-5)

    def relu(self, x: str) -> str:
        return self._node("Relu", [x], self._rectified(x))

    def relu6(self, x: str) -> str:
        bounds = [self._constant("relu6.min", 0.0), self._constant("relu6.max", 6.0)]
        return self._node("Clip", [x, *bounds], self._rectified(x))

    def residual(self, branch: str, shortcut: str) -> str:
        """relu(branch + shortcut): the shortcut is positive already, so only half of the branch is cut off."""
        channels = self._values[branch].channels
        total = 0.5 * self._values[branch].mean_square + self._values[shortcut].mean_square
        value = _Value(channels, total)
        return self._node("Relu", [self._node("Add", [branch, shortcut], value)], value)

    def max_pool(self, x: str, kernel: int, stride: int, padding: int = 0) -> str:
        sizes, strides, pads = [kernel] * 2, [stride] * 2, [padding] * 4
        # The largest of kernel^2 rectified values: about 1.7 times the root mean square of one.
        source = self._values[x]
        pooled = _Value(source.channels, 3.0 * source.mean_square)
        return self._node("MaxPool", [x], pooled, kernel_shape=sizes, strides=strides, pads=pads)

    def global_average_pool(self, x: str) -> str:
        return self._node("GlobalAveragePool", [x], self._values[x])

    def lrn(self, x: str) -> str:
        return self._node("LRN", [x], self._values[x], size=5, alpha=1e-4, beta=0.75, bias=1.0)

    def dropout(self, x: str) -> str:
        return self._node("Dropout", [x], self._values[x])

    def flatten(self, x: str, features: int) -> str:
        return self._node("Flatten", [x], _Value(features, self._values[x].mean_square), axis=1)

    def model(
        self, name: str, inputs: Mapping[str, tuple[Any, ...]], outputs: Mapping[str, tuple[str, tuple[Any, ...]]]
    ) -> onnx.ModelProto:
        """The checked model. outputs: value -> (name of the output, shape)."""
        for node in self._nodes:
            node.output[0] = outputs[node.output[0]][0] if node.output[0] in outputs else node.output[0]
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, shape) for key, shape in inputs.items()],
            [helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, shape) for key, shape in outputs.values()],
            self._initializers,
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, producer_name="opq-benchmarks"
        )

    def _weight(self, name: str, shape: tuple[int, ...], mean_square: float) -> str:
        """Laplace weights with He's variance 2 / fan-in on average, one log-normal scale per output channel."""
        channels, fan_in = shape[0], math.prod(shape[1:])
        spread = np.exp(_CHANNEL_SPREAD * self._rng.standard_normal(channels))
        spread /= np.sqrt(np.mean(spread**2))
        # A Laplace distribution of scale b has variance 2 b^2.
        weight = self._rng.laplace(scale=np.sqrt(1.0 / fan_in), size=(channels, fan_in)).astype(np.float32)
        weight *= spread[:, None].astype(np.float32)
        depthwise = len(shape) == 4 and shape[1] == 1
        if self._layers > 0 and not depthwise:
            _prune(weight, self._sparsity)
        self._layers += 1
        variance = np.einsum("ck,ck->c", weight, weight, dtype=np.float64) * mean_square
        key = self._initializer(f"{name}.weight", weight.reshape(shape))
        self._values[key] = _Value(channels, float(variance.mean()), np.maximum(variance, 1e-6))
        return key

    def _bias(self, name: str, channels: int) -> str:
        return self._initializer(f"{name}.bias", 0.05 * self._rng.standard_normal(channels))

    def _constant(self, name: str, value: float) -> str:
        if all(tensor.name != name for tensor in self._initializers):
            self._initializer(name, np.array(value))
        return name

    def _initializer(self, name: str, array: npt.NDArray[Any]) -> str:
        self._initializers.append(numpy_helper.from_array(np.asarray(array, dtype=np.float32), name))
        return name

    def _rectified(self, x: str) -> _Value:
        """Half of a symmetric distribution is cut off."""
        return _Value(self._values[x].channels, 0.5 * self._values[x].mean_square)

    def _node(self, op: str, inputs: list[str], value: _Value, name: str = "", **attributes: Any) -> str:
        name = name or f"{op.lower()}{len(self._nodes)}"
        output = f"{name}.y"
        self._nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        self._values[output] = value
        return output


def _prune(weight: Array, sparsity: float) -> None:
    """Sets the given fraction of `weight`, the entries of the smallest magnitude, to zero in place."""
    count = round(sparsity * weight.size)
    if count:
        flat = weight.reshape(-1)
        flat[np.argpartition(np.abs(flat), count - 1)[:count]] = 0.0
