"""Holding the compiled core against the reference on a whole network, and a compressed network against its dense original.

The core is run once with every intermediate value kept. Each node of the reference is then fed with the core's own inputs, so
the error of a layer never hides behind that of the layers before it, and the bound that `reference.bounds` derives from the
number of terms applies to every element. The normal run, which fuses nodes and reuses memory, must give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from opq import _core
from opq.compressed import CompressedModel
from opq.errors import UnsupportedError
from opq.reference.bounds import node_bound, within
from opq.reference.tensor_section import Tensor

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class NodeCheck:
    """One node: the largest |core - reference| and the largest share of its bound that any element uses (inf: outside)."""

    name: str
    op: str
    elements: int
    largest_error: float
    bound_share: float
    passed: bool


@dataclass(frozen=True)
class Verification:
    """All nodes, and whether the fused run gave the same bits as the run with every value kept; None without such a run."""

    nodes: list[NodeCheck]
    same_bits: bool | None

    @property
    def passed(self) -> bool:
        """Whether everything is as it must be."""
        return self.same_bits is not False and all(node.passed for node in self.nodes)


def verify(
    model: CompressedModel,
    inputs: Mapping[str, Array],
    threads: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Verification:
    """Check every node of `model` for these inputs (arrays of the declared types and shapes, C-contiguous)."""
    if model.graph is None:
        raise UnsupportedError("the file holds tensors without a graph: there is nothing to verify")
    names = list(dict.fromkeys(name for node in model.graph.nodes for name in node.outputs))
    kept = _core.Session(model.network, threads, keep_all=True).run(dict(inputs), names)
    values: dict[str, Tensor] = {**model.tensors, **inputs, **dict(zip(names, kept, strict=True))}
    checks = []
    for i, node in enumerate(model.graph.nodes):
        if progress is not None and i % 20 == 0:
            progress(f"verifying node {i + 1} of {len(model.graph.nodes)}")
        result = values[node.outputs[0]]
        assert isinstance(result, np.ndarray)
        reference, bound = node_bound(node, [values[name] if name else None for name in node.inputs])
        checks.append(_compare(node.name, node.op, result, reference, bound))
    outputs = [info.name for info in model.graph.outputs]
    fused = _core.Session(model.network, threads).run(dict(inputs), outputs)
    same = all(same_bits(a, values[name]) for a, name in zip(fused, outputs, strict=True))
    return Verification(checks, same)


def _compare(name: str, op: str, result: Array, reference: Array, bound: Array) -> NodeCheck:
    if result.shape != reference.shape:
        return NodeCheck(name, op, result.size, np.inf, np.inf, False)
    passed = bool(within(result, reference, bound).all())
    with np.errstate(all="ignore"):
        error = np.abs(np.where(result == reference, 0.0, result.astype(np.float64) - reference))
        share = np.where(error == 0.0, 0.0, error / bound)
    largest = float(np.max(error, initial=0.0))
    return NodeCheck(name, op, result.size, largest, float(np.max(share, initial=0.0)) if passed else np.inf, passed)


def same_bits(a: Array, b: Tensor) -> bool:
    """Equal to the bit, but for the sign and payload of NaN, which no instruction set promises."""
    if not isinstance(b, np.ndarray) or a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind == "f":
        a, b = (np.where(np.isnan(v), np.float32(np.nan), v) for v in (a, b))
    return a.tobytes() == b.tobytes()


@dataclass(frozen=True)
class OutputDifference:
    """How far an output of the compressed network is from the dense one's, over one batch."""

    name: str
    largest: float  # max |compressed - dense|
    mean: float  # mean |compressed - dense|
    signal_to_noise: float  # 10 log10(sum dense^2 / sum (compressed - dense)^2), dB; inf where equal
    agreement: float | None  # share of rows with the same largest element, where the last axis has two or more


def compare_outputs(names: list[str], dense: list[Array], compressed: list[Array]) -> list[OutputDifference]:
    """The differences of float outputs."""
    result = []
    for name, a, b in zip(names, dense, compressed, strict=True):
        x, y = a.astype(np.float64), b.astype(np.float64)
        noise, signal = float(np.sum((x - y) ** 2)), float(np.sum(x * x))
        ratio = np.inf if noise == 0.0 else -np.inf if signal == 0.0 else 10.0 * np.log10(signal / noise)
        several = x.ndim > 0 and x.shape[-1] > 1
        agreement = float(np.mean(x.argmax(-1) == y.argmax(-1))) if several else None
        difference = np.abs(x - y)
        result.append(OutputDifference(name, float(difference.max()), float(difference.mean()), float(ratio), agreement))
    return result
