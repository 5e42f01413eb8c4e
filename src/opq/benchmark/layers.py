"""The steps of a session with the time each takes and the multiply-adds that it does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from opq.graph import Graph
from opq.reference.tensor_section import Tensor


@dataclass(frozen=True)
class LayerTiming:
    """One step.

    name, op, kernel  as `Session.profile` gives them: nodes and operators joined by "+"
    shape             of the output
    weights           of the layer, 0 without
    nonzeros          of these
    sparsity          share of zeros of the weights; None without
    ms                median over the runs
    gmacs             1e9 multiply-adds with nonzero weights per second; None without
    """

    name: str
    op: str
    kernel: str
    shape: tuple[int, ...]
    weights: int
    nonzeros: int
    sparsity: float | None
    ms: float
    gmacs: float | None


def layer_timings(
    profiles: Sequence[Sequence[Mapping[str, Any]]], graph: Graph, tensors: Mapping[str, Tensor]
) -> list[LayerTiming]:
    """The steps of some runs of one session, each as `Session.profile` gives it."""
    shapes = {n.name: tensors[n.inputs[1]].shape for n in graph.nodes if n.op in ("Conv", "Linear") and n.inputs[1] in tensors}
    return [_timing(steps, _weight_shape(steps[0]["name"], shapes)) for steps in zip(*profiles, strict=True)]


def _weight_shape(step: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Of the layer that the step starts with; a name may itself hold a "+"."""
    first = max((name for name in shapes if f"{step}+".startswith(f"{name}+")), key=len, default=None)
    return () if first is None else shapes[first]


def _timing(steps: Sequence[Mapping[str, Any]], weight_shape: tuple[int, ...]) -> LayerTiming:
    step = steps[0]
    seconds = float(np.median([s["seconds"] for s in steps]))
    weights, nonzeros = math.prod(weight_shape) if weight_shape else 0, step["nonzeros"]
    sparsity = gmacs = None
    if weights:
        # Every weight meets every output pixel (or row) of its channel: all elements of the output over its channels.
        products = nonzeros * math.prod(step["shape"]) / weight_shape[0]
        sparsity, gmacs = 1.0 - nonzeros / weights, products / seconds / 1e9 if seconds else None
    return LayerTiming(
        step["name"], step["op"], step["kernel"], tuple(step["shape"]), weights, nonzeros, sparsity, 1000.0 * seconds, gmacs
    )
