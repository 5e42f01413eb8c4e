"""The steps of a session with the time each takes and the multiply-adds that it does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


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
    plan              of the layer: its entry of `Session.plan`; None without weights
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
    plan: Mapping[str, Any] | None

    @property
    def pixels(self) -> int:
        """Output pixels (of a Linear: rows) that every weight meets; 0 without weights."""
        return 0 if self.plan is None else math.prod(self.shape) // int(self.plan["rows"])

    @property
    def estimates(self) -> dict[str, float]:
        """By kernel that can multiply the layer: milliseconds that one thread should take."""
        if self.plan is None:
            return {}
        # An image fills tiles of its own.
        images = self.shape[0] if self.plan["tile"] > 1 else self.pixels
        pixels = images * -(-self.pixels // images // self.plan["tile"]) * self.plan["tile"] if images else 0
        return {kernel: 1000.0 * pixels * seconds for kernel, seconds in self.plan["seconds_per_pixel"].items()}


def layer_timings(profiles: Sequence[Sequence[Mapping[str, Any]]], plan: Sequence[Mapping[str, Any]]) -> list[LayerTiming]:
    """The steps of some runs of one session, each as `Session.profile` gives it; its `Session.plan`."""
    layers = {entry["name"]: entry for entry in plan}
    return [_timing(steps, _layer(steps[0]["name"], layers)) for steps in zip(*profiles, strict=True)]


def _layer(step: str, layers: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The layer that the step starts with; a name may itself hold a "+"."""
    first = max((name for name in layers if f"{step}+".startswith(f"{name}+")), key=len, default=None)
    return None if first is None else layers[first]


def _timing(steps: Sequence[Mapping[str, Any]], layer: Mapping[str, Any] | None) -> LayerTiming:
    step = steps[0]
    seconds = float(np.median([s["seconds"] for s in steps]))
    weights, nonzeros = 0 if layer is None else layer["rows"] * layer["depth"], step["nonzeros"]
    sparsity = gmacs = None
    if layer is not None:
        # Every weight meets every output pixel (or row) of its channel: all elements of the output over its channels.
        products = nonzeros * math.prod(step["shape"]) / layer["rows"]
        sparsity, gmacs = 1.0 - nonzeros / weights, products / seconds / 1e9 if seconds else None
    return LayerTiming(
        step["name"], step["op"], step["kernel"], tuple(step["shape"]), weights, nonzeros, sparsity, 1000.0 * seconds, gmacs,
        layer,
    )  # fmt: skip
