"""Everything docs/format.md demands of a graph that can be known without its inputs' sizes.

A graph that passes can still meet inputs that do not fit; `run` finds those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from opq.errors import FormatError
from opq.graph import DTYPES, Graph, Node, ValueInfo
from opq.reference.operands import integer
from opq.reference.operators import MAX_RANK, describe
from opq.reference.ranks import infer_rank
from opq.reference.signatures import SIGNATURES
from opq.reference.tensor_section import Tensor

MAX_NODES = 2**20


@dataclass(frozen=True)
class Known:
    """What is known of a value: its element type, its rank (None: depends on sizes), and the tensor if it is one."""

    dtype: str
    rank: int | None
    tensor: Tensor | None = None


def check(graph: Graph, tensors: Mapping[str, Tensor]) -> None:
    """Raises FormatError, naming the node, if `graph` over `tensors` is not what docs/format.md allows."""
    if len(graph.nodes) > MAX_NODES:
        raise FormatError(f"{len(graph.nodes)} nodes, more than {MAX_NODES}")
    values = {name: _known_tensor(name, tensor) for name, tensor in tensors.items()}
    for value in graph.inputs:
        _check_info("input", value)
        if not value.name or value.name in values:
            raise FormatError(f"input {value.name!r} has no name or one that is taken")
        values[value.name] = Known(value.dtype, len(value.shape))
    for node in graph.nodes:
        try:
            result = _check_node(node, values)
        except ValueError as error:
            raise FormatError(f"{describe(node)}: {error}") from error
        values[node.outputs[0]] = result
    for value in graph.outputs:
        _check_info("output", value)
        known = values.get(value.name)
        if known is None or (known.tensor is not None and not isinstance(known.tensor, np.ndarray)):
            raise FormatError(f"output {value.name!r} is made by nothing")
        if known.dtype != value.dtype or known.rank not in (None, len(value.shape)):
            raise FormatError(f"output {value.name!r} is declared with another type or rank than it has")


def _known_tensor(name: str, tensor: Tensor) -> Known:
    dtype = tensor.dtype.name if isinstance(tensor, np.ndarray) else "float32"
    if not name or dtype not in DTYPES or len(tensor.shape) > MAX_RANK:
        raise FormatError(f"tensor {name!r} has no name, type {dtype}, or more than {MAX_RANK} axes")
    return Known(dtype, len(tensor.shape), tensor)


def _check_info(what: str, value: ValueInfo) -> None:
    if value.dtype not in DTYPES or len(value.shape) > MAX_RANK:
        raise FormatError(f"{what} {value.name!r} has type {value.dtype} or more than {MAX_RANK} axes")
    if any(isinstance(size, int) and size < 0 for size in value.shape):
        raise FormatError(f"{what} {value.name!r} has a negative size")


def _check_node(node: Node, values: Mapping[str, Known]) -> Known:
    """The output of `node`; ValueError if the node is not allowed after `values` have been made."""
    signature = SIGNATURES.get(node.op)
    if signature is None:
        raise ValueError("unknown operator")
    _check_attributes(node)
    if not signature.inputs[0] <= len(node.inputs) <= signature.inputs[1]:
        raise ValueError(f"{len(node.inputs)} inputs")
    if len(node.outputs) != 1 or not node.outputs[0] or node.outputs[0] in values:
        raise ValueError(f"outputs {node.outputs}: one new name is needed")
    inputs: list[Known | None] = []
    for index, name in enumerate(node.inputs):
        if name and name not in values:
            raise ValueError(f"input {name!r} has not been made before")
        if not name and index < signature.required:
            raise ValueError(f"input {index} is absent")
        inputs.append(values[name] if name else None)
    present = [value for value in inputs if value is not None]
    dtypes = {value.dtype for value in present}
    if len(dtypes) != 1 or not dtypes <= set(signature.types):
        raise ValueError(f"inputs of type {', '.join(sorted(dtypes))}")
    has_weight = node.op in ("Conv", "Linear")
    for value in inputs[:1] + inputs[2:] if has_weight else inputs:
        if value is not None and value.tensor is not None and not isinstance(value.tensor, np.ndarray):
            raise ValueError("only the weight of a Conv or Linear may be quantized")
    if has_weight:
        _check_weight(node, inputs)
    rank = infer_rank(node, [value.rank for value in present])
    if rank is not None and rank > MAX_RANK:
        raise ValueError(f"the result has rank {rank}, more than {MAX_RANK}")
    return Known(dtypes.pop(), rank)


def _check_attributes(node: Node) -> None:
    rules = SIGNATURES[node.op].attributes
    if set(node.attributes) != set(rules):
        wrong = sorted(set(node.attributes) ^ set(rules))
        raise ValueError(f"attributes missing or unknown: {', '.join(wrong)}")
    for key, rule in rules.items():
        if not rule.accepts(node.attributes[key]):
            raise ValueError(f"attribute {key} is {node.attributes[key]!r}, must be {rule.text}")


def _check_weight(node: Node, inputs: list[Known | None]) -> None:
    """weight [M, ...], scale [M] and bias [M] are tensors; the weight may be quantized along axis 0."""
    weight, *vectors = (None if value is None else value.tensor for value in inputs[1:])
    if weight is None or any(value is not None and value.tensor is None for value in inputs[1:]):
        raise ValueError("weight, scale and bias must be tensors of the file")
    if not isinstance(weight, np.ndarray) and weight.axis not in (0, None):
        raise ValueError(f"the weight's channel axis is {weight.axis}, must be 0")
    shape = weight.shape
    if min(shape, default=0) < 1 or len(shape) not in ((3, 4) if node.op == "Conv" else (2,)):
        raise ValueError(f"weight of shape {shape}")
    if node.op == "Conv" and shape[0] % integer(node, "group"):
        raise ValueError(f"weight of shape {shape} does not divide into {integer(node, 'group')} groups")
    for vector in vectors:
        if vector is not None and (not isinstance(vector, np.ndarray) or vector.shape != shape[:1]):
            raise ValueError(f"scale and bias must be float32 of shape ({shape[0]},)")
