"""Per-channel constants behind a Conv or Linear become its scale and bias; the weights stay as they are.

With y = s z + b, z the layer's plain product, and a constant c per output channel:

    y * c = (s c) z + b c      y / c: the same with 1 / c
    y + c = s z + (b + c)      y - c: the same with -c
    c - y = (-s) z + (c - b)

All in float64 from the constants of the file on; one rounding to float32 at the end. Folding s into the weights
instead would make the channels' ranges, which one shared codebook has to serve, no more alike, and often less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from opq.graph import Node
from opq.onnx_import.builder import Builder
from opq.onnx_import.tensors import to_float32, to_float64

_LAYERS = ("Conv", "Linear")
_BINARY = ("Mul", "Div", "Add", "Sub")

Vector = npt.NDArray[np.float64]


@dataclass
class _Affine:
    """Scale and bias of one layer; None where they are 1 and 0."""

    position: int  # of the layer in the list of nodes
    channels: int
    rank: int | None  # of the layer's output
    channel_axis: int  # of the layer's output, from the end: -1 for Linear, -1 - spatial axes for Conv
    scale: Vector | None = None
    bias: Vector | None = None
    changed: bool = False


def absorb(builder: Builder, outputs: Iterable[str]) -> None:
    """Merges nodes into the layers before them wherever a layer's result has no other reader."""
    readers = Counter(name for node in builder.nodes for name in node.inputs)
    readers.update(outputs)
    nodes: list[Node] = []
    layers: dict[str, _Affine] = {}  # by the name of the value that the layer makes so far
    for node in builder.nodes:
        if node.op in ("Conv", "Linear"):
            layers[node.outputs[0]] = _layer(builder, node, len(nodes))
        elif node.op in ("Mul", "Div", "Add", "Sub"):
            value = next((name for name in node.inputs if name in layers and readers[name] == 1), None)
            if value is not None and _merge(builder, node, value, layers[value]):
                affine = layers.pop(value)
                nodes[affine.position] = replace(nodes[affine.position], outputs=node.outputs)
                layers[node.outputs[0]] = affine
                continue
        nodes.append(node)
    for affine in layers.values():
        if affine.changed:
            nodes[affine.position] = _with_affine(builder, nodes[affine.position], affine)
    builder.nodes = nodes


def _layer(builder: Builder, node: Node, position: int) -> _Affine:
    weight = builder.constants[node.inputs[1]]
    if node.op == "Conv":
        affine = _Affine(position, weight.shape[0], weight.ndim, 1 - weight.ndim)
    else:
        shape = builder.shapes.get(node.inputs[0])
        affine = _Affine(position, weight.shape[0], None if shape is None else len(shape), -1)
    if len(node.inputs) > 3:
        affine.bias = to_float64(builder.constants[node.inputs[3]])
    return affine


@np.errstate(all="ignore")
def _merge(builder: Builder, node: Node, value: str, affine: _Affine) -> bool:
    """Applies `node` to scale and bias, if its other input is a constant per channel (or one for all)."""
    layer_first = node.inputs[0] == value
    other = node.inputs[1 if layer_first else 0]
    if other not in builder.constants or (node.op == "Div" and not layer_first):
        return False
    constant = to_float64(builder.constants[other])
    constant = 1.0 / constant if node.op == "Div" else constant
    vector = _per_channel(constant, affine)
    if vector is None or not np.isfinite(vector).all():
        return False

    scale = np.ones(affine.channels) if affine.scale is None else affine.scale
    bias = np.zeros(affine.channels) if affine.bias is None else affine.bias
    if bias.shape != vector.shape:
        return False
    if node.op in ("Mul", "Div"):
        affine.scale, affine.bias = scale * vector, None if affine.bias is None else bias * vector
    elif node.op == "Add":
        affine.bias = bias + vector
    elif layer_first:
        affine.bias = bias - vector
    else:
        affine.scale, affine.bias = -scale, vector - bias
    affine.changed = True
    return True


def _per_channel(constant: Vector, affine: _Affine) -> Vector | None:
    """The constant as one number per channel; None if it varies along another axis or would enlarge the result."""
    if constant.ndim > (1 if affine.rank is None else affine.rank):
        return None
    if constant.size == 1:
        return np.full(affine.channels, constant.reshape(()))
    axis = constant.ndim + affine.channel_axis
    if axis < 0 or constant.size != affine.channels or constant.shape[axis] != affine.channels:
        return None
    return constant.reshape(-1)


def _with_affine(builder: Builder, layer: Node, affine: _Affine) -> Node:
    """The layer with tensors for its scale and bias, named after it."""
    scale = bias = ""
    if affine.scale is not None:
        scale = builder.tensor(f"{layer.name}.scale", to_float32(affine.scale))
    if affine.bias is not None:
        bias = builder.tensor(f"{layer.name}.bias", to_float32(affine.bias))
    inputs = (*layer.inputs[:2], scale, bias)
    return replace(layer, inputs=inputs if bias else inputs[:3])
