"""What can be measured: sessions of this package, and other engines by name, each in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from opq.benchmark.timing import Engine, Run
from opq.precision import Precision
from opq.session import Session, Source

Inputs: TypeAlias = Mapping[str, npt.NDArray[np.generic]]

# The name of an engine -> the package that has it. `opq.benchmark.<name>_engine` knows how to use it.
PEERS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "mnn": "MNN"}


class MakeEngine(Protocol):
    """An engine on one network, which runs in float32 on these inputs.

    model    an .onnx file whose inputs have the shapes of `inputs`
    threads  the caller included
    """

    def __call__(self, model: str, inputs: Inputs, threads: int) -> Engine:
        """Nothing of the network is loaded yet."""
        ...


def peer(name: str) -> MakeEngine:
    """The maker of another engine.

    Raises ValueError for a name that is not in PEERS, and ImportError, saying what to install, without its package.
    """
    if name not in PEERS:
        raise ValueError(f"engine {name!r} is unknown: expected {', '.join(PEERS)}")
    try:
        module = import_module(f"opq.benchmark.{name}_engine")
    except ImportError as error:
        raise ImportError(f"measuring {name} needs its package: pip install {PEERS[name]} ({error})") from None
    return cast(MakeEngine, module.engine)


def opq_engine(source: Source, inputs: Inputs, threads: int, precision: Precision = "float32") -> Engine:
    """A session on `source`, as `opq.Session` takes it."""

    def load() -> Run:
        session = Session(source, threads=threads, precision=precision)
        arrays: Mapping[str, Any] = inputs
        return lambda: session.run(None, arrays)

    return Engine(f"opq {precision}", load)
