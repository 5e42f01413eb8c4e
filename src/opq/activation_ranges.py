"""The ranges on which sessions of integer precision hold activations: found once, when a network is compressed.

A range ends where mean and five standard deviations of its widest channel end, after the activation behind them:

    lo = min over c of f(mean_c - 5 deviation_c),  hi = max over c of f(mean_c + 5 deviation_c)

The moments come from BatchNorm's statistics (`opq.moments`): no data is needed. Or from those of the compressed network
on inputs that the user gives (`calibration`): then a range also ends at the largest value that was seen, and ends there alone
where a channel has been seen too few times for its moments to tell something: behind a Linear layer it has one value per input.
A range of least squared error would be narrower; what it clips belongs to a few channels, which would lose it always.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from opq import _core
from opq.compressed import CompressedModel
from opq.graph import Graph, Node
from opq.model import Model
from opq.moments import Vector, propagate
from opq.reference.elementwise import clip, leaky_relu, relu
from opq.reference.ranges_section import Range, rounded_range
from opq.session import checked_inputs
from opq.threads import checked_threads

Calibration = Mapping[str, npt.ArrayLike] | Iterable[Mapping[str, npt.ArrayLike]]

_ACTIVATIONS = {"Relu": relu, "Clip": clip, "LeakyRelu": leaky_relu}
_READERS = {
    "Conv", "Linear", "Add", "Concat", "MaxPool", "AveragePool", "ReduceMean", "Pad",
    "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", *_ACTIVATIONS,
}  # fmt: skip
_NO_INPUTS = "calibration has no inputs: expected a mapping of input names to arrays, or several of them"
_DEVIATIONS = 5.0
_FEWEST = 256  # values of a channel whose moments count


def ranges_from_moments(model: Model) -> dict[str, Range]:
    """The ranges that follow from BatchNorm's statistics, by the name of the value; empty where the network has none."""
    moments = propagate(model.graph, model.moments)
    ranges: dict[str, Range] = {}
    for name, source, activation in _held(model.graph):
        known = moments.get(source)
        if known is not None and known.variance is not None:
            _add(ranges, name, *_spread(known.mean, known.variance, activation))
    return ranges


def stand_ins(graph: Graph) -> dict[str, Range]:
    """As many ranges as `ranges_from_data` finds at the most, which take as many bytes in a file."""
    return {name: Range(-1.0, 1.0) for name, _, _ in _held(graph)}


def check_calibration(graph: Graph, calibration: Calibration) -> None:
    """Raises what `ranges_from_data` raises, as far as the inputs can be looked at twice: those of a generator cannot."""
    if isinstance(calibration, Mapping):
        checked_inputs(graph.inputs, calibration)
    elif isinstance(calibration, Sequence):
        for mapping in calibration:
            checked_inputs(graph.inputs, mapping)
        if not calibration:
            raise ValueError(_NO_INPUTS)


def ranges_from_data(model: CompressedModel, calibration: Calibration) -> dict[str, Range]:
    """The ranges of a network's values on inputs. Those of the network as it is compressed: codes of few bits move them.

    calibration  a mapping of names to arrays, as `Session.run` takes it, or several of them

    Raises ValueError and TypeError as `Session.run` does, and ValueError where there are no inputs at all.
    """
    assert model.graph is not None
    held = _held(model.graph)
    names = {name for name, _, _ in held} | {source for _, source, _ in held}
    inputs = {info.name for info in model.graph.inputs}
    made = sorted(names - inputs)
    session = _core.Session(model.network, checked_threads(None), keep_all=True)
    seen = {name: _Seen() for name in names}
    batches = 0
    for mapping in [calibration] if isinstance(calibration, Mapping) else calibration:
        arrays = checked_inputs(model.graph.inputs, mapping)
        for name, values in (dict(zip(made, session.run(arrays, made), strict=True)) | arrays).items():
            if name in names:
                seen[name].add(values)
        batches += 1
    if not batches:
        raise ValueError(_NO_INPUTS)
    ranges: dict[str, Range] = {}
    for name, source, activation in held:
        if seen[source].count and seen[name].count:
            lo, hi = -np.inf, np.inf
            if seen[source].count >= _FEWEST:
                lo, hi = _spread(*seen[source].moments(), activation)
            _add(ranges, name, max(lo, seen[name].least), min(hi, seen[name].most))
    return ranges


class _Seen:
    """Moments by channel, axis 1, and the extremes of a value over inputs. Of all elements together where that axis varies."""

    def __init__(self) -> None:
        self.count = 0
        self.least, self.most = np.inf, -np.inf
        self._sums = np.zeros((2, 0))  # of x and x^2, by channel

    def add(self, values: npt.NDArray[Any]) -> None:
        """One more array of it. Values that are no float32 numbers, or not finite, do not count."""
        if values.dtype != np.float32 or not values.size or not np.isfinite(values).all():
            return
        channels = values.shape[1] if values.ndim > 1 else 1
        rows = np.moveaxis(values.reshape(-1, 1) if values.ndim < 2 else values, 1, 0).reshape(channels, -1)
        wide = rows.astype(np.float64)
        sums, count = np.array([wide.sum(axis=1), np.einsum("ck,ck->c", wide, wide)]), wide.shape[1]
        if self.count and sums.shape != self._sums.shape:
            sums, count = sums.sum(axis=1, keepdims=True), wide.size
            self.count *= self._sums.shape[1]
            self._sums = self._sums.sum(axis=1, keepdims=True)
        self._sums = sums + (self._sums if self.count else 0.0)
        self.count += count
        self.least, self.most = min(self.least, float(values.min())), max(self.most, float(values.max()))

    def moments(self) -> tuple[Vector, Vector]:
        """Mean and variance, [channels]."""
        mean, square = self._sums / self.count
        return mean, np.maximum(square - mean**2, 0.0)


def _held(graph: Graph) -> list[tuple[str, str, Node | None]]:
    """The values that are worth holding as integers; the value behind which their activation stands; the activation.

    Worth it is what nodes read that know what to do with integers, unless a layer or a sum takes it in. A maximum has no range
    of its own where its input has one: it stays on that grid, and is found among integers.
    """
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    counts = Counter(name for node in graph.nodes for name in node.inputs)
    outputs = {info.name for info in graph.outputs}
    made = {node.outputs[0]: node for node in graph.nodes}
    result: list[tuple[str, str, Node | None]] = []
    for name in [info.name for info in graph.inputs if info.dtype == "float32"] + list(made):
        maker = made.get(name)
        here = readers.get(name, [])
        taken_in = (
            maker is not None and maker.op in ("Conv", "Linear", "Add") and counts[name] == 1 and here[0].op in _ACTIVATIONS
        )
        if name in outputs or taken_in or not any(node.op in _READERS for node in here):
            continue
        if maker is not None and maker.op == "MaxPool" and any(name == maker.inputs[0] for name, _, _ in result):
            continue
        activation = maker if maker is not None and maker.op in _ACTIVATIONS else None
        result.append((name, name if activation is None else activation.inputs[0], activation))
    return result


def _spread(mean: Vector, variance: Vector, activation: Node | None) -> tuple[float, float]:
    """The ends of the widest channels."""
    deviation = _DEVIATIONS * np.sqrt(variance)
    ends = np.array([(mean - deviation).min(), (mean + deviation).max()])
    if activation is not None:
        ends = _ACTIVATIONS[activation.op](activation, [ends.astype(np.float32)])
    return float(ends[0]), float(ends[1])


def _add(ranges: dict[str, Range], name: str, lo: float, hi: float) -> None:
    """Unless the value is always 0."""
    range_ = rounded_range(lo, hi)
    if range_.lo < range_.hi:
        ranges[name] = range_
