"""Runs a graph with its activations as integers where their ranges are known, and products of codes and integers.

Every value of the graph is float32 or held as integers on a grid. A value that has a range is held on that range's grid. A
maximum and a clamp of a value that is held, without a range of their own, and every view of it are held on its grid. Everything
else is float32. An average over a value that is held (averages.py) is computed from its integers.

A layer (`layers.is_integer_layer`) multiplies integers: an input that is not held is put on a grid image by image, by its own
range. All other nodes compute in float32, as in reference/execution.py, on the values that are held; those of a maximum, a
view or a clamp are the same in either way.

A Conv or Linear, compressed or not, takes in the nodes behind it: an Add of its value, if nothing else reads it, and another of
the same shape; then one activation (Relu, Clip, LeakyRelu) likewise. Where both operands of an Add could take
it in, the one made later does. An Add of two values of one shape that no layer takes in takes in an activation itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from opq.graph import Graph, Node
from opq.quantization import QuantizedTensor
from opq.reference.execution import checked_inputs, dense, rounded
from opq.reference.integer.averages import average, is_average
from opq.reference.integer.layers import Sums, clamp_of, is_integer_layer, sums
from opq.reference.integer.quantized import Float32, Precision, Quantized, grid_of, range_of
from opq.reference.operands import Array
from opq.reference.operators import evaluate
from opq.reference.ranges_section import Range
from opq.reference.tensor_section import Tensor

_VIEWS = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose")
_CLAMPS = ("Relu", "Clip")
_ACTIVATIONS = (*_CLAMPS, "LeakyRelu")


@dataclass(frozen=True, eq=False)
class _Open:
    """A value that can take in more: sums of a layer, or what a layer of floats or an Add makes; and what it has taken in."""

    start: Sums | Float32
    is_layer: bool
    residual: Quantized | Array | None = None
    activation: Node | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.start.values.shape if isinstance(self.start, Sums) else self.start.shape


_Value = Tensor | Quantized


def run(
    graph: Graph,
    tensors: Mapping[str, Tensor],
    ranges: Mapping[str, Range],
    precision: Precision,
    inputs: Mapping[str, Array],
    outputs: Sequence[str] | None = None,
) -> list[Array]:
    """Evaluates a graph, as `reference.execution.run` does, in a precision of integers. Outputs are float32.

    ranges   of values of the graph, by name
    outputs  graph outputs: what lies between may never be rounded
    """
    wanted = [value.name for value in graph.outputs] if outputs is None else list(outputs)
    return _Run(graph, ranges, precision, {**tensors, **checked_inputs(graph.inputs, inputs)}).outputs(wanted)


class _Run:
    def __init__(self, graph: Graph, ranges: Mapping[str, Range], precision: Precision, values: Mapping[str, Tensor]) -> None:
        self._precision: Precision = precision
        self._grids = {name: grid_of(range_, precision) for name, range_ in ranges.items()}
        self._readers = Counter(name for node in graph.nodes for name in node.inputs)
        for info in graph.outputs:
            self._readers[info.name] += 2
        self._values: dict[str, _Value] = dict(values)
        for info in graph.inputs:
            self._values[info.name] = self._hold(info.name, values[info.name])
        self._open: dict[str, _Open] = {}  # in the order in which they were made
        left = self._readers.copy()
        for node in graph.nodes:
            self._step(node)
            for name in node.inputs:
                left[name] -= 1
                if not left[name]:
                    self._values.pop(name, None)

    def outputs(self, names: Sequence[str]) -> list[Array]:
        """The values as float32, or as the integers that they are in the graph."""
        return [dense(_float(self._read(name))) for name in names]

    def _step(self, node: Node) -> None:
        [output] = node.outputs
        taken = self._absorbed(node)
        if taken is not None:
            self._open[output] = taken
            return
        operands = [self._read(name) if name else None for name in node.inputs]
        first = operands[0]
        if node.op in ("Conv", "Linear") and is_integer_layer(operands[1]):
            assert first is not None
            x = first if isinstance(first, Quantized) else self._by_image(first)
            self._open[output] = _Open(sums(node, x, [None, *map(_operand, operands[1:])]), is_layer=True)
        elif isinstance(first, Quantized) and is_average(node, first):
            self._values[output] = self._hold(output, average(node, first))
        elif isinstance(first, Quantized) and (
            node.op in _VIEWS or (node.op in (*_CLAMPS, "MaxPool") and output not in self._grids)
        ):
            # None of them makes a value that is not on the grid, but for padding, which is never a maximum.
            result = rounded(evaluate(node, [_operand(first), *map(_operand, operands[1:])]))
            self._values[output] = Quantized(first.grid.quantize(result), first.grid)
        else:
            result = rounded(evaluate(node, [_operand(operand) for operand in operands]))
            shapes = {operand.shape for operand in operands if operand is not None}
            if node.op in ("Conv", "Linear"):
                self._open[output] = _Open(result, is_layer=True)
            elif node.op == "Add" and result.dtype == np.float32 and len(shapes) == 1:
                self._open[output] = _Open(result, is_layer=False)
            elif node.op in _VIEWS:
                self._values[output] = result
            else:
                self._values[output] = self._hold(output, result)

    def _absorbed(self, node: Node) -> _Open | None:
        """The open value that takes in `node`, with it."""
        if node.op in _ACTIVATIONS:
            return self._taken_in(node.inputs[0], activation=node)
        if node.op == "Add":
            a, b = node.inputs
            made = list(self._open)
            for name in sorted({a, b} & set(made), key=made.index, reverse=True):
                if not self._open[name].is_layer:
                    continue
                other = self._read(b if name == a else a) if a != b else None
                if other is not None and not isinstance(other, QuantizedTensor) and other.shape == self._open[name].shape:
                    taken = self._taken_in(name, residual=other)
                    if taken is not None:
                        return taken
        return None

    def _taken_in(self, name: str, **what: Any) -> _Open | None:
        """The open value `name` with what it takes in, if nothing else reads it and nothing is behind it."""
        value = self._open.get(name)
        if value is None or self._readers[name] != 1 or value.activation is not None:
            return None
        if "residual" in what and value.residual is not None:
            return None
        del self._open[name]
        return replace(value, **what)

    def _read(self, name: str) -> _Value:
        """A value, rounded if it was open."""
        if name in self._open:
            self._values[name] = self._finished(name, self._open.pop(name))
        return self._values[name]

    def _finished(self, name: str, value: _Open) -> Tensor | Quantized:
        start, residual, grid = value.start, value.residual, self._grids.get(name)
        if isinstance(start, Sums):
            clamp = clamp_of(value.activation, grid) if self._precision == "int8" and grid is not None else None
            static = not start.by_image and start.is_finite and (residual is None or isinstance(residual, Quantized))
            if grid is not None and clamp is not None and static:
                return start.fixed(grid, cast("Quantized | None", residual), clamp)
            result = start.floats()
        else:
            result = start
        if residual is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                result = result + _float(residual)
        if value.activation is not None:
            result = rounded(evaluate(value.activation, [result]))
        return self._hold(name, result)

    def _hold(self, name: str, value: _Value) -> _Value:
        """On the grid of its range, if it has one."""
        grid = self._grids.get(name)
        if grid is None or not isinstance(value, np.ndarray) or value.dtype != np.float32:
            return value
        return Quantized(grid.quantize(value), grid)

    def _by_image(self, x: _Value) -> list[Quantized]:
        """Every image, along the first axis if there are two or more, on the grid of its own range."""
        assert isinstance(x, np.ndarray)
        images = []
        for image in x[:, None] if x.ndim > 1 else [x]:
            grid = grid_of(range_of(image), self._precision)
            images.append(Quantized(grid.quantize(image), grid))
        return images


def _float(value: _Value) -> Array:
    if isinstance(value, QuantizedTensor | Quantized):
        return value.dequantize()
    return value


def _operand(value: _Value | None) -> Tensor | None:
    """As an operator takes it."""
    return value.dequantize() if isinstance(value, Quantized) else value
