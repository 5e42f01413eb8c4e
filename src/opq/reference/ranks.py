"""The rank of each operator's result from its inputs' ranks, and whether axes, pads and the like fit these ranks.

A rank is None where it depends on sizes: behind a Squeeze of "every axis of size 1". What that leaves open is found
when the node runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opq.graph import Node
from opq.reference.operands import integer, integers, normalize_axes, text

Ranks = Sequence[int | None]


def infer_rank(node: Node, ranks: Ranks) -> int | None:
    """The rank of the result; ValueError if the known ranks do not fit the node."""
    rule = _RULES.get(node.op)
    return ranks[0] if rule is None else rule(node, ranks)


def _need(rank: int | None, fits: Callable[[int], bool]) -> int | None:
    if rank is not None and not fits(rank):
        raise ValueError(f"an input of rank {rank} does not fit")
    return rank


def _check_lengths(node: Node, axes: int) -> None:
    for key, length in (("strides", axes), ("dilations", axes), ("pads", 2 * axes)):
        if len(integers(node, key)) != length:
            raise ValueError(f"attribute {key} has {len(integers(node, key))} entries, must have {length}")


def _conv(node: Node, ranks: Ranks) -> int | None:
    weight = ranks[1]
    assert weight is not None  # it is a tensor
    _check_lengths(node, weight - 2)
    _need(ranks[0], lambda rank: rank == weight)
    return weight


def _pool(node: Node, ranks: Ranks) -> int:
    axes = len(integers(node, "kernel_shape"))
    if axes not in (1, 2):
        raise ValueError(f"{axes} spatial axes, must be 1 or 2")
    _check_lengths(node, axes)
    _need(ranks[0], lambda rank: rank == axes + 2)
    return axes + 2


def _matmul(node: Node, ranks: Ranks) -> int | None:
    a, b = (_need(rank, lambda known: known >= 1) for rank in ranks)
    return None if a is None or b is None else max(a, b, 2) - (a == 1) - (b == 1)


def _broadcast(node: Node, ranks: Ranks) -> int | None:
    a, b = ranks
    return None if a is None or b is None else max(a, b)


def _reduce_mean(node: Node, ranks: Ranks) -> int | None:
    if ranks[0] is None:
        return None
    axes = normalize_axes(integers(node, "axes"), ranks[0])
    return ranks[0] if integer(node, "keepdims") == 1 else ranks[0] - len(axes)


def _softmax(node: Node, ranks: Ranks) -> int | None:
    axis = integer(node, "axis")
    return _need(ranks[0], lambda rank: -rank <= axis < rank)


def _pad(node: Node, ranks: Ranks) -> int | None:
    pads, mode = integers(node, "pads"), text(node, "mode")
    if mode != "constant" and min(pads, default=0) < 0:
        raise ValueError(f"negative pads {pads} in mode {mode}")
    return _need(ranks[0], lambda rank: len(pads) == 2 * rank)


def _concat(node: Node, ranks: Ranks) -> int | None:
    axis = integer(node, "axis")
    known = [rank for rank in ranks if rank is not None]
    for rank in known:
        _need(rank, lambda rank: rank == known[0] and -rank <= axis < rank)
    return known[0] if known else None


def _flatten(node: Node, ranks: Ranks) -> int:
    axis = integer(node, "axis")
    _need(ranks[0], lambda rank: -rank <= axis <= rank)
    return 2


def _reshape(node: Node, ranks: Ranks) -> int:
    shape = integers(node, "shape")
    if integer(node, "allowzero") == 1:
        if 0 in shape and -1 in shape:
            raise ValueError(f"shape {shape} has both 0 and -1, which allowzero forbids")
    else:
        copied = max((axis for axis, size in enumerate(shape) if size == 0), default=-1)
        _need(ranks[0], lambda rank: copied < rank)
    return len(shape)


def _squeeze(node: Node, ranks: Ranks) -> int | None:
    axes = integers(node, "axes")
    return ranks[0] - len(normalize_axes(axes, ranks[0])) if axes and ranks[0] is not None else None


def _unsqueeze(node: Node, ranks: Ranks) -> int | None:
    axes = integers(node, "axes")
    return None if ranks[0] is None else len(normalize_axes(axes, ranks[0] + len(axes))) + ranks[0]


def _transpose(node: Node, ranks: Ranks) -> int:
    perm = integers(node, "perm")
    _need(ranks[0], lambda rank: rank == len(perm))
    return len(perm)


_RULES: dict[str, Callable[[Node, Ranks], int | None]] = {
    "Conv": _conv,
    "Linear": lambda node, ranks: _need(ranks[0], lambda rank: rank >= 1),
    "MatMul": _matmul,
    "Add": _broadcast,
    "Sub": _broadcast,
    "Mul": _broadcast,
    "Div": _broadcast,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "ReduceMean": _reduce_mean,
    "Softmax": _softmax,
    "LRN": lambda node, ranks: _need(ranks[0], lambda rank: rank >= 2),
    "Pad": _pad,
    "Concat": _concat,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
}
