"""A network as the compressor sees it: the graph and its float tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from opq.graph import Dimension, Graph
from opq.moments import Moments


@dataclass(frozen=True)
class Model:
    """What `load_onnx` returns and `compress` takes.

    graph: nodes of docs/format.md; graph.nodes refer to `tensors` by name.
    tensors: name -> array of float32, int32 or int64.
    dense_bytes: 4 bytes for every float parameter of the network that was read, biases and BatchNorm included.
        All compression rates compare with it.
    source: where the network came from, for messages.
    shapes: of graph inputs and of the nodes' outputs, by name, as far as they are known. A dimension that is not a number
        may differ from run to run.
    moments: mean and variance of the values that a BatchNorm makes, by name: they are its beta and gamma^2.
    """

    graph: Graph
    tensors: Mapping[str, npt.NDArray[Any]]
    dense_bytes: int
    source: str
    shapes: Mapping[str, tuple[Dimension, ...]] = field(default_factory=dict)
    moments: Mapping[str, Moments] = field(default_factory=dict)
