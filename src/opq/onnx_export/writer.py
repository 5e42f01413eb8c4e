"""IR nodes -> ONNX nodes.

Opset 17 and IR version 8, which runtimes since 2022 know; opset 19 only where the graph has something that came with
it (padding mode wrap, dilated average pooling).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from opq.errors import UnsupportedError
from opq.graph import Graph, Node, ValueInfo
from opq.reference.ranks import infer_rank

Array = npt.NDArray[Any]

_MAX_BYTES = 2**31 - 2**20  # a protobuf message ends at 2 GiB
_ELEMENT_TYPES = {
    "float32": onnx.TensorProto.FLOAT,
    "int32": onnx.TensorProto.INT32,
    "int64": onnx.TensorProto.INT64,
}


def to_onnx(graph: Graph, tensors: Mapping[str, Array]) -> onnx.ModelProto:
    """The model in memory; see `export_onnx`."""
    total = sum(array.nbytes for array in tensors.values())
    if total > _MAX_BYTES:
        raise UnsupportedError(f"{total} bytes of tensors do not fit into an ONNX file, which ends at 2 GiB")
    writer = _Writer(graph, tensors)
    for node in graph.nodes:
        writer.add(node)
    onnx_graph = helper.make_graph(
        writer.nodes,
        "opq",
        [_value_info(value) for value in graph.inputs],
        [_value_info(value) for value in graph.outputs],
        [numpy_helper.from_array(array, name) for name, array in writer.initializers.items()],
    )
    return helper.make_model(
        onnx_graph,
        opset_imports=[helper.make_opsetid("", writer.opset)],
        ir_version=8 if writer.opset < 19 else 9,
        producer_name="opq",
    )


def _value_info(value: ValueInfo) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(value.name, _ELEMENT_TYPES[value.dtype], value.shape)


def _needs_opset_19(node: Node) -> bool:
    if node.op == "Pad":
        return node.attributes["mode"] == "wrap"
    return node.op == "AveragePool" and any(dilation != 1 for dilation in _integers(node, "dilations"))


def _integers(node: Node, key: str) -> tuple[int, ...]:
    value = node.attributes[key]
    assert isinstance(value, tuple)
    return value


def _number(node: Node, key: str) -> float:
    value = node.attributes[key]
    assert isinstance(value, (int, float))
    return value


class _Writer:
    """ONNX nodes and initializers made so far."""

    def __init__(self, graph: Graph, tensors: Mapping[str, Array]) -> None:
        self.opset = 19 if any(map(_needs_opset_19, graph.nodes)) else 17
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, Array] = {}
        self._tensors = tensors
        self._readers = Counter(name for node in graph.nodes for name in node.inputs)
        self._ranks: dict[str, int | None] = {name: array.ndim for name, array in tensors.items()}
        self._dtypes = {name: array.dtype for name, array in tensors.items()}
        for value in graph.inputs:
            self._ranks[value.name], self._dtypes[value.name] = len(value.shape), np.dtype(value.dtype)
        self._taken = {*self._ranks, *(name for node in graph.nodes for name in node.outputs)}
        self._derived: dict[tuple[str, ...], str] = {}

    def add(self, node: Node) -> None:
        """Adds what `node` becomes."""
        special = {
            "Conv": self._add_conv,
            "Linear": self._add_linear,
            "MaxPool": self._add_pool,
            "AveragePool": self._add_pool,
            "Clip": self._add_clip,
            "Pad": self._add_pad,
            "Reshape": self._add_reshape,
            "Squeeze": self._add_axes,
            "Unsqueeze": self._add_axes,
            "ReduceMean": self._add_axes,
        }.get(node.op)
        if special is not None:
            special(node)
        else:
            self._emit(node, [self._value(name) for name in node.inputs], node.attributes)
        self._ranks[node.outputs[0]] = infer_rank(node, [self._ranks[name] for name in node.inputs if name])
        self._dtypes[node.outputs[0]] = self._dtypes[node.inputs[0]]

    def _add_conv(self, node: Node) -> None:
        weight, bias = self._layer(node, transposed=False)
        attributes = {**_without_unused_pads(node), "kernel_shape": self.initializers[weight].shape[2:]}
        self._emit(node, [self._value(node.inputs[0]), weight, *([bias] if bias else [])], attributes)

    def _add_linear(self, node: Node) -> None:
        """Gemm takes matrices only."""
        x = self._value(node.inputs[0])
        if self._ranks[node.inputs[0]] == 2:
            weight, bias = self._layer(node, transposed=False)
            self._emit(node, [x, weight, *([bias] if bias else [])], {"transB": 1}, op="Gemm")
            return
        weight, bias = self._layer(node, transposed=True)
        if not bias:
            self._emit(node, [x, weight], {}, op="MatMul")
            return
        product = self._fresh(f"{node.outputs[0]}.product")
        self.nodes.append(helper.make_node("MatMul", [x, weight], [product], f"{node.name}.product"))
        self._emit(node, [product, bias], {}, op="Add")

    def _add_pool(self, node: Node) -> None:
        attributes = _without_unused_pads(node)
        if node.op == "AveragePool" and self.opset < 19:
            del attributes["dilations"]
        self._emit(node, [self._value(node.inputs[0])], attributes)

    def _add_clip(self, node: Node) -> None:
        low, high = _number(node, "min"), _number(node, "max")
        minimum = "" if low == -np.inf else self._constant(f"{node.name}.min", np.array(low, np.float32))
        maximum = "" if high == np.inf else self._constant(f"{node.name}.max", np.array(high, np.float32))
        self._emit(node, [self._value(node.inputs[0]), minimum, maximum], {})

    def _add_pad(self, node: Node) -> None:
        pads = self._constant(f"{node.name}.pads", np.array(_integers(node, "pads"), np.int64))
        value = np.array(_number(node, "value")).astype(self._dtypes[node.inputs[0]])
        inputs = [self._value(node.inputs[0]), pads, self._constant(f"{node.name}.value", value)]
        self._emit(node, inputs, {"mode": node.attributes["mode"]})

    def _add_reshape(self, node: Node) -> None:
        shape = self._constant(f"{node.name}.shape", np.array(_integers(node, "shape"), np.int64))
        self._emit(node, [self._value(node.inputs[0]), shape], {"allowzero": node.attributes["allowzero"]})

    def _add_axes(self, node: Node) -> None:
        """Axes are an input of Squeeze and Unsqueeze from opset 13 on, of ReduceMean from 18 on."""
        attributes, inputs = dict(node.attributes), [self._value(node.inputs[0])]
        axes = _integers(node, "axes")
        if node.op != "ReduceMean" or self.opset >= 18:
            del attributes["axes"]
            if axes or node.op != "Squeeze":  # Squeeze without axes drops every axis of size 1
                inputs.append(self._constant(f"{node.name}.axes", np.array(axes, np.int64)))
        self._emit(node, inputs, attributes)

    def _layer(self, node: Node, transposed: bool) -> tuple[str, str]:
        """Names of the weight times the scale, and of the bias, which may be ""."""
        weight, scale, bias = (*node.inputs[1:], "", "")[:3]
        if not scale and not transposed:
            return self._value(weight), self._value(bias)
        key = (weight, scale, "transposed" if transposed else "")
        if key not in self._derived:
            array = self._tensors[weight]
            if scale:
                array = array * self._tensors[scale].reshape(-1, *(1,) * (array.ndim - 1))
            # A weight that several layers share keeps its name for itself.
            name = weight if self._readers[weight] == 1 else self._fresh(f"{weight}.derived")
            self.initializers[name] = np.ascontiguousarray(array.T) if transposed else array
            self._derived[key] = name
        return self._derived[key], self._value(bias)

    def _value(self, name: str) -> str:
        """A value of the graph; a tensor becomes an initializer."""
        if name in self._tensors:
            self.initializers[name] = self._tensors[name]
        return name

    def _constant(self, name: str, array: Array) -> str:
        name = self._fresh(name)
        self.initializers[name] = array
        return name

    def _fresh(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def _emit(self, node: Node, inputs: Sequence[str], attributes: Mapping[str, Any], op: str = "") -> None:
        self.nodes.append(helper.make_node(op or node.op, inputs, node.outputs, node.name, **attributes))


def _without_unused_pads(node: Node) -> dict[str, Any]:
    """auto_pad and pads exclude each other in ONNX."""
    attributes: dict[str, Any] = dict(node.attributes)
    if attributes["auto_pad"] != "NOTSET":
        del attributes["pads"]
    return attributes
