"""A network that opq has read, as a PyTorch module: the operators of MobileNet-V1."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import opq
from opq.graph import Node


class GraphModule(nn.Module):
    """Computes `model.graph`; every float tensor is a parameter of the same name, "conv1.weight".

    BatchNorm has become scale and bias of the layer before it, which are trained as such: its statistics stay those of the
    training set, which a few photographs cannot replace. Raises ValueError for an operator that is not here.
    """

    def __init__(self, model: opq.Model) -> None:
        super().__init__()
        unknown = {node.op for node in model.graph.nodes} - {"Conv", "Linear", "Clip", "ReduceMean", "Flatten"}
        if unknown:
            raise ValueError(f"{model.source}: no PyTorch for {', '.join(sorted(unknown))}")
        self.nodes = model.graph.nodes
        self.input, self.output = model.graph.inputs[0].name, model.graph.outputs[0].name
        for name, tensor in model.tensors.items():
            *path, last = name.split(".")
            module: nn.Module = self
            for part in path:
                if not hasattr(module, part):
                    module.add_module(part, nn.Module())
                module = getattr(module, part)
            module.register_parameter(last, nn.Parameter(torch.from_numpy(np.array(tensor))))

    def forward(self, x: Tensor) -> Tensor:
        """The first output for a batch of the first input."""
        return self.features(x)[0]

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The first output, and those of all Clip nodes in their order."""
        values, clipped = {self.input: x}, []
        for node in self.nodes:
            y = values[node.outputs[0]] = self._compute(node, values[node.inputs[0]])
            if node.op == "Clip":
                clipped.append(y)
        return values[self.output], clipped

    def _tensor(self, name: str) -> Any:
        path, _, last = name.rpartition(".")
        return getattr(self.get_submodule(path), last)

    def _compute(self, node: Node, x: Tensor) -> Tensor:
        a: Any = node.attributes
        if node.op == "Clip":
            return x.clamp(a["min"], a["max"])
        if node.op == "ReduceMean":
            return x.mean(a["axes"], keepdim=bool(a["keepdims"]))
        if node.op == "Flatten":
            return x.flatten(a["axis"])
        weight, scale, bias = (self._tensor(name) if name else None for name in (*node.inputs[1:], "", "")[:3])
        if node.op == "Conv":
            x, padding = _padded(x, weight.shape[2:], a)
            y = functional.conv2d(x, weight, None, a["strides"], padding, a["dilations"], a["group"])
            shape = (-1, 1, 1)
        else:
            y, shape = functional.linear(x, weight), (-1,)
        y = y if scale is None else y * scale.reshape(shape)
        return y if bias is None else y + bias.reshape(shape)


def _padded(x: Tensor, kernel: torch.Size, attributes: Any) -> tuple[Tensor, tuple[int, int]]:
    """x, padded where a convolution's padding has two different ends, and the padding that is left to do at both.

    SAME_UPPER has the odd pixel at the end.
    """
    top, left, bottom, right = attributes["pads"]
    if attributes["auto_pad"] == "SAME_UPPER":
        totals = [
            max((-(-size // stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0)
            for size, k, stride, dilation in zip(x.shape[2:], kernel, attributes["strides"], attributes["dilations"])
        ]
        (top, left), (bottom, right) = [t // 2 for t in totals], [t - t // 2 for t in totals]
    if (top, left) == (bottom, right):
        return x, (top, left)
    return functional.pad(x, (left, right, top, bottom)), (0, 0)
