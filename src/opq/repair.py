"""Repairs of what pruning and quantization do to a layer's outputs: from BatchNorm's statistics, without data.

A compressed layer computes y_c = s_c sum_k v_ck x_k + beta_c with v near the weights w.

* Norm ratio: s_c is multiplied by |w_c| / |v_c|. Rounding and pruning take energy out of a channel, or add some; BatchNorm
  had made the channel's spread what the layers behind expect.
* Bias correction: beta_c += s_c sum_k (w_ck - v_ck) E x_k gives the outputs the means that they had. E x comes from
  `opq.moments`. Without this correction the norm ratio does not help, so a layer gets both or neither.

The wiring is checked and not assumed. Where a BatchNorm follows the layer, the mean that is derived for its output must be the
one that BatchNorm says: half a standard deviation between them, in the median channel, means that something else happens on
the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from opq import _core
from opq.graph import Dimension, Node
from opq.model import Model
from opq.moments import Moments, Vector, propagate
from opq.quantization import QuantizedTensor
from opq.reference.half_precision import round_to
from opq.reference.tensor_section import Tensor
from opq.reference.windows import place_windows, tap_shares
from opq.threads import checked_threads

_LARGEST_MISMATCH = 0.5  # of the median channel, in standard deviations

CORRECTED = "corrected"


def repair(model: Model, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors with repaired scales and biases, and by layer what was done: "corrected", or why it was left alone.

    model    the network with its weights as they were, and its BatchNorm statistics
    tensors  its tensors after quantization: those that are a `QuantizedTensor` are repaired; masks and codes stay
    """
    return Repairs(model).apply(tensors)


class Repairs:
    """What can be repaired in a network, found once for any number of quantizations of its weights."""

    def __init__(self, model: Model) -> None:
        self._layers: dict[str, _Layer] = {}
        self._left_alone: dict[str, str] = {}
        moments = propagate(model.graph, model.moments)
        readers = Counter(name for node in model.graph.nodes for name in node.inputs)
        readers.update(value.name for value in model.graph.outputs)
        for node in model.graph.nodes:
            if node.op not in ("Conv", "Linear"):
                continue
            weight, scale, bias = (*node.inputs[1:], "", "")[:3]
            x = moments.get(node.inputs[0])
            if x is None:
                self._left_alone[weight] = "the mean of its input is not known"
            elif not bias:
                self._left_alone[weight] = "it has no bias"
            elif any(readers[name] > 1 for name in (weight, scale, bias) if name):
                self._left_alone[weight] = "it shares its tensors with another node"
            else:
                self._add(model, node, x)

    def _add(self, model: Model, node: Node, x: Moments) -> None:
        name, scale_name, bias_name = (*node.inputs[1:], "", "")[:3]
        weights = model.tensors[name]
        expected = _input_means(x.mean, node, weights.shape, model.shapes.get(node.inputs[0], ()))
        if expected is None:
            self._left_alone[name] = "the mean of its input has another number of channels"
            return
        scale = np.ones(len(weights)) if not scale_name else model.tensors[scale_name].astype(np.float64)
        bias = model.tensors[bias_name].astype(np.float64)
        before = _row_sums(weights, np.ones(1, dtype=np.float32), expected)
        stated = model.moments.get(node.outputs[0])
        if stated is not None and _mismatch(scale * before.mean + bias, stated) > _LARGEST_MISMATCH:
            self._left_alone[name] = "its output's mean is not what its BatchNorm says"
            return
        self._layers[name] = _Layer(scale_name, bias_name, scale, bias, expected, before)

    @property
    def empty(self) -> bool:
        """No layer can be corrected."""
        return not self._layers

    def apply(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """See `repair`."""
        repaired = dict(tensors)
        report: dict[str, str] = {}
        for name, tensor in tensors.items():
            if isinstance(tensor, QuantizedTensor):
                if name in self._layers:
                    repaired.update(self._layers[name].repair(name, tensor))
                    report[name] = CORRECTED
                elif name in self._left_alone:
                    report[name] = self._left_alone[name]
        return repaired, report


@dataclass(frozen=True, eq=False)
class _Layer:
    """Scale and bias of a layer in float64, the means of the inputs behind its weights, and sums over its weights."""

    scale_name: str
    bias_name: str
    scale: Vector
    bias: Vector
    expected: Vector
    before: _RowSums

    def repair(self, name: str, tensor: QuantizedTensor) -> dict[str, Tensor]:
        """The tensors that change."""
        result: dict[str, Tensor] = {}
        after = _row_sums(tensor.codes, tensor.channel_steps().reshape(-1), self.expected)
        ratio = np.ones(len(self.scale))
        if self.scale_name or tensor.scale is not None:
            alive = (self.before.energy > 0.0) & (after.energy > 0.0)
            ratio[alive] = np.sqrt(self.before.energy[alive] / after.energy[alive])
        if self.scale_name:
            result[self.scale_name] = (self.scale * ratio).astype(np.float32)
        elif tensor.scale is not None:
            scales = round_to((tensor.scale * ratio).astype(np.float32), "bfloat16")  # which two bytes hold
            ratio = scales.astype(np.float64) / tensor.scale
            result[name] = replace(tensor, scale=scales)
        lost = self.before.mean - ratio * after.mean
        result[self.bias_name] = (self.bias + self.scale * lost).astype(np.float32)
        return result


class _RowSums(NamedTuple):
    """By output channel: sum w^2 and sum w E x."""

    energy: Vector
    mean: Vector


def _row_sums(values: npt.NDArray[Any], steps: npt.NDArray[np.float32], expected: Vector) -> _RowSums:
    """Of values * steps, for values [output channels, ...] that are float32 weights or int8 codes, steps [1 or channels]."""
    rows = np.require(values, None, ["C_CONTIGUOUS", "ALIGNED"]).reshape(len(values), -1)
    steps = np.ascontiguousarray(np.broadcast_to(steps, len(rows)))
    return _RowSums(*_core.row_sums(rows, steps, np.ascontiguousarray(expected), checked_threads(None)))


def _input_means(mean: Vector, node: Node, shape: tuple[int, ...], input_shape: tuple[Dimension, ...]) -> Vector | None:
    """[output channels or 1, row length]: the mean of the input behind every weight of a row; None where sizes do not fit.

    At the border of the image some weights meet padding, which is 0. A Linear layer behind Flatten sees every channel several
    times in a row.
    """
    if node.op == "Linear":
        return None if shape[1] % mean.size else np.repeat(mean, shape[1] // mean.size)[None]
    group = node.attributes["group"]
    assert isinstance(group, int)
    if mean.size != shape[1] * group:
        return None
    kernel, size = shape[2:], [d for d in input_shape[2:] if isinstance(d, int)]
    shares = tap_shares(place_windows(node, size, kernel)) if len(size) == len(kernel) else np.ones(kernel)
    by_group = (mean.reshape(group, -1, 1) * shares.ravel()).reshape(group, -1)
    return by_group if group == 1 else np.repeat(by_group, shape[0] // group, axis=0)


def _mismatch(derived: Vector, stated: Moments) -> float:
    """The median difference in standard deviations, over the channels that vary at all."""
    if stated.variance is None:
        return 0.0
    alive = stated.variance > 1e-6 * stated.variance.max(initial=0.0)
    if not alive.any():
        return 0.0
    return float(np.median(np.abs(derived[alive] - stated.mean[alive]) / np.sqrt(stated.variance[alive])))
