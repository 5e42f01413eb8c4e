"""A network as the compressor sees it: the graph and its float tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from opq.graph import Graph


@dataclass(frozen=True)
class Model:
    """What `load_onnx` returns and `compress` takes.

    graph: nodes of docs/format.md; graph.nodes refer to `tensors` by name.
    tensors: name -> array of float32, int32 or int64.
    dense_bytes: 4 bytes for every float parameter of the network that was read, biases and BatchNorm included.
        All compression rates compare with it.
    source: where the network came from, for messages.
    """

    graph: Graph
    tensors: Mapping[str, npt.NDArray[Any]]
    dense_bytes: int
    source: str
