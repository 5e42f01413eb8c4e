"""Fine-tuning of a network that opq has read, in PyTorch: what is trained, in which units, and the loss of an imitation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

import opq
import opq.torch
from benchmarks.graph_module import GraphModule


class Gain(nn.Module):
    """A parametrization: the tensor is its first value times a gain, which is trained and starts at 1.

    Scales of folded BatchNorms, gamma / sqrt(variance + epsilon), differ by orders of magnitude between the channels of one
    layer. Adam moves every number by the same amount, so it must see them as ratios.
    """

    first: Tensor

    def __init__(self, first: Tensor) -> None:
        super().__init__()
        self.register_buffer("first", first.detach().clone())

    def forward(self, gain: Tensor) -> Tensor:
        """The tensor."""
        return gain * self.first

    def right_inverse(self, _: Tensor) -> Tensor:
        """The gain of the first value."""
        return torch.ones_like(self.first)


def student(model: opq.Model, first: opq.CompressedModel, fixed: opq.FixedCompression) -> GraphModule:
    """`model` with masks and codebooks fixed, computing what the compressed model `first` does, ready to be trained.

    Behind a code is the pre-trained weight; where that projects to another code, as channel scales were repaired after the
    codes were chosen, the codeword.
    """
    module = GraphModule(model)
    state = {}
    for name, tensor in first.items():
        value = tensor
        if isinstance(tensor, opq.QuantizedTensor):
            same = fixed.codes(name, model.tensors[name]) == tensor.codes
            value = np.where(same, model.tensors[name], tensor.dequantize())
        state[name] = torch.from_numpy(np.array(value))
    module.load_state_dict(state)
    opq.torch.fix(module, fixed=fixed)
    for layer in _layers_with(module, "scale"):
        parametrize.register_parametrization(layer, "scale", Gain(layer.scale))
    return module.to(memory_format=torch.channels_last)


def optimizer(module: GraphModule, weights: float, others: float) -> torch.optim.Adam:
    """Adam with a rate for every tensor: `group["first_rate"]`, which a schedule multiplies.

    weights  in steps of the layer's codebook, over the root of the terms of a sum. A code changes only when its weight crosses
             the middle of two levels. The n weights of an output that Adam moves at once move it by n, what they hold of noise
             adds up to sqrt(n); without the root, wide layers fall apart at rates at which others do not learn yet
    others   of gains, and of biases: behind a BatchNorm these are of order 1
    """
    groups: list[dict[str, Any]] = []
    for name, parameter in module.named_parameters():
        rate = others
        if name.endswith("weight.original"):
            projection = module.get_submodule(name.removesuffix(".original"))[0]
            scale = 1.0 if projection.scale is None else float(projection.scale.mean())
            rate = weights * float(projection.step) * scale / math.sqrt(parameter[0].numel())
        groups.append({"params": [parameter], "first_rate": rate, "lr": rate})
    return torch.optim.Adam(groups)


def set_rates(adam: torch.optim.Adam, step: int, steps: int, warm_up: int) -> None:
    """Up in a straight line for `warm_up` steps, and down to 0 along half a cosine over all."""
    factor = min(1.0, (step + 1) / warm_up) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
    for group in adam.param_groups:
        group["lr"] = factor * group["first_rate"]


def imitation(module: GraphModule, teacher: GraphModule, x: Tensor, features: float) -> Tensor:
    """KL(teacher || module) + features * the mean, over the layers, of squared error over variance of what ReLU6 gives."""
    with torch.no_grad():
        target, wanted = teacher.features(x)
    output, got = module.features(x)
    divergence = functional.kl_div(
        functional.log_softmax(output, 1), functional.log_softmax(target, 1), reduction="batchmean", log_target=True
    )
    if features == 0.0:
        return divergence
    errors = [(a - b).square().mean() / b.var() for a, b in zip(got, wanted)]
    return divergence + features * torch.stack(errors).mean()


def fine_tuned(model: opq.Model, module: GraphModule, fixed: opq.FixedCompression) -> opq.CompressedModel:
    """The compressed model of a trained student, which stays as it is."""
    trained = {}
    for name, tensor in model.tensors.items():
        layer, _, last = name.rpartition(".")
        value = getattr(module.get_submodule(layer), last).detach()
        if name in fixed:
            value = module.get_submodule(layer).parametrizations.weight.original.detach()
        trained[name] = value.reshape(tensor.shape).cpu().numpy()
    return opq.compress(model, fixed=fixed, weights=trained)


def _layers_with(module: nn.Module, tensor: str) -> Iterator[nn.Module]:
    yield from [layer for layer in module.modules() if tensor in layer._parameters]
