"""Running a network: `Session.run` over the compiled core or the NumPy reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from opq import _core
from opq.compressed import CompressedModel, from_bytes
from opq.details import read_details
from opq.errors import UnsupportedError
from opq.graph import Dimension, Graph, ValueInfo
from opq.model import Model
from opq.precision import Precision
from opq.reference import execution
from opq.reference.container import read_container
from opq.reference.graph_section import read_graph
from opq.reference.integer import execution as integer_execution
from opq.reference.ranges_section import Range
from opq.reference.tensor_section import Tensor
from opq.source import FileSource, errors_named, read_source
from opq.threads import checked_threads

Source: TypeAlias = "FileSource | CompressedModel | Model"


@dataclass(frozen=True)
class Argument:
    """An input or output of a network, as ONNX Runtime describes it: type is e.g. "tensor(float)"."""

    name: str
    shape: list[Dimension]
    type: str


class Session:
    """A network ready to run.

    source    an `.opq` file, wherever `opq.load` takes it from; it is not needed once the session is made. Or a
              CompressedModel (shared: several sessions hold its weights once), or a Model, which runs dense
    offset    where the file lies in a larger blob, as for `opq.load`
    threads   worker threads, the caller included; may exceed the cores; default: the cores this process may use. The
              reference accepts it and computes as NumPy does.
    precision "float32"; or "int8", "int16": activations as integers, products and sums exact (docs/integers.md)
    backend   "core" (compiled) or "reference" (NumPy, the definition). There is no fallback from one to the other.
    kernels   by the name of a Conv or Linear, the core's kernel for it instead of the one that should take the least time
              (`plan`): "sparse", "dense", "4-bit" or "depthwise". It changes how long a run takes, and in integer precision
              nothing else; in float32 a zero weight then meets an infinite activation or does not.

    Raises FormatError for a damaged file, whatever the damage, and UnsupportedError for a file without a graph, OSError,
    TypeError and ValueError as `opq.load` does. A session may be used from several threads; runs of one session take turns,
    runs of different sessions are concurrent.
    """

    def __init__(
        self,
        source: Source,
        *,
        offset: int | None = None,
        threads: int | None = None,
        precision: Precision = "float32",
        backend: Literal["core", "reference"] = "core",
        kernels: Mapping[str, str] | None = None,
    ) -> None:
        if backend not in ("core", "reference"):
            raise ValueError(f'backend {backend!r} is unknown: expected "core" or "reference"')
        if precision not in ("float32", "int8", "int16"):
            raise ValueError(f'precision {precision!r} is unknown: expected "float32", "int8" or "int16"')
        if kernels and backend != "core":
            raise ValueError(f"kernels {dict(kernels)!r}: the reference has none to choose from")
        self._threads = checked_threads(threads)
        self._precision = precision
        self._backend = backend
        options = _CoreOptions(self._threads, precision, dict(kernels or {})) if backend == "core" else None
        self._graph, self._tensors, self._ranges, network = _opened(source, offset, options)
        self._network = network
        self._core = None if network is None else _core.Session(network, self._threads)

    @property
    def threads(self) -> int:
        """Worker threads, the caller included."""
        return self._threads

    @property
    def precision(self) -> str:
        """ "float32", "int8" or "int16"."""
        return self._precision

    @property
    def backend(self) -> str:
        """ "core" or "reference"."""
        return self._backend

    @property
    def instruction_set(self) -> str:
        """Of the kernels in use: "avx512vnni", "avx512", "avx2", "neondot", "neon", "scalar", or "numpy" for the reference."""
        return self._core.isa if self._core is not None else "numpy"

    def get_inputs(self) -> list[Argument]:
        """Name, shape and type of every input; dimensions that are not fixed are strings or None."""
        return [argument(info) for info in self._graph.inputs]

    def get_outputs(self) -> list[Argument]:
        """Name, shape and type of every output."""
        return [argument(info) for info in self._graph.outputs]

    def run(self, output_names: Sequence[str] | None, inputs: Mapping[str, npt.ArrayLike]) -> list[npt.NDArray[Any]]:
        """The outputs named (None: all of them, in order) for one array per input.

        Arrays of another numeric type or memory layout are converted; a float array is not taken where integers are
        expected. Raises ValueError, naming the input, for one that is missing, unknown, or of another type or shape, and
        TypeError where `inputs` is no mapping or `output_names` a single name.
        """
        if isinstance(output_names, str):
            raise TypeError(f"output_names is the string {output_names!r}: expected a list of names, or None for all")
        known = [info.name for info in self._graph.outputs]
        wanted = known if output_names is None else list(output_names)
        for name in wanted:
            if name not in known:
                raise ValueError(f"there is no output {name!r}: expected {_listed(known)}")
        arrays = self.checked_inputs(inputs)
        if self._core is not None:
            return self._core.run(arrays, wanted)
        if self._precision != "float32":
            return integer_execution.run(self._graph, self._tensors, self._ranges, self._precision, arrays, wanted)
        return execution.run(self._graph, self._tensors, arrays, wanted)

    def profile(self) -> list[dict[str, Any]]:
        """One entry per step of the last run of the core: nodes, op, kernel, shape, nonzeros, seconds. Empty before it."""
        return self._core.profile() if self._core is not None else []

    def plan(self) -> list[dict[str, Any]]:
        """How the core chose the kernel of each Conv and Linear, in the order of execution; empty for the reference.

        name, rows, depth    the layer, and its weights as a matrix: output channels, and products per output element
        nonzeros             of the weights
        largest_code         the largest absolute one, 0 where the weights are not codes
        precision            of the activations that it multiplies
        kernel, wanted       the kernel in use, and whether `kernels` asked for it
        tile                 output pixels that are computed together; 1 for what is a product with one row of the input
        seconds_per_pixel    by kernel that can multiply the layer: what one thread should take for an output pixel, counted
                             in whole tiles, by the model in cpp/runtime/kernel_choice.cpp
        """
        return self._network.kernel_choices if self._network is not None else []

    def checked_inputs(self, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, npt.NDArray[Any]]:
        """The inputs as `run` uses them: converted, C-contiguous. Raises as `run` does."""
        return checked_inputs(self._graph.inputs, inputs)


def checked_inputs(infos: Sequence[ValueInfo], inputs: Mapping[str, npt.ArrayLike]) -> dict[str, npt.NDArray[Any]]:
    """One array per input, converted to its type, C-contiguous. Raises ValueError and TypeError as `Session.run` does."""
    names = [info.name for info in infos]
    if not isinstance(inputs, Mapping):
        raise TypeError(f"inputs is {type(inputs).__name__}: expected a mapping of input names to arrays ({_listed(names)})")
    for name in inputs:
        if name not in names:
            raise ValueError(f"there is no input {name!r}: expected {_listed(names)}")
    for name in names:
        if name not in inputs:
            raise ValueError(f"input {name!r} is missing")
    return {info.name: _converted(info, inputs[info.name]) for info in infos}


@dataclass(frozen=True)
class _CoreOptions:
    """How the core loads a network."""

    threads: int
    precision: Precision
    kernels: dict[str, str]


def _opened(
    source: Source, offset: int | None, options: _CoreOptions | None
) -> tuple[Graph, Mapping[str, Tensor], Mapping[str, Range], _core.Network | None]:
    """Graph, tensors and ranges of activations (for the reference), and network (for the core) of a source.

    options  None for the reference
    """
    if isinstance(source, (CompressedModel, Model)):
        if offset is not None:
            raise ValueError(f"offset {offset!r}: a {type(source).__name__} has none, it is for files")
        model = CompressedModel(source.graph, source.tensors) if isinstance(source, Model) else source
        network = None if options is None else model.network_of(options.precision, options.kernels)
        return _runnable(model.graph), model.tensors, model.ranges, network
    with errors_named(source, offset):
        return _opened_bytes(read_source(source, offset), options)


def _opened_bytes(
    data: bytes | memoryview, options: _CoreOptions | None
) -> tuple[Graph, Mapping[str, Tensor], Mapping[str, Range], _core.Network | None]:
    if options is None:
        model = from_bytes(data)
        return _runnable(model.graph), model.tensors, model.ranges, None
    # Checks the file and decodes tensors straight into their kernels' layout.
    network = _core.Network(data, options.threads, options.precision, options.kernels)
    sections = read_container(data, _core.crc32c)
    if b"REPT" in sections:
        read_details(sections[b"REPT"])
    section = sections.get(b"GRPH")
    return _runnable(None if section is None else read_graph(section)), {}, {}, network


def _runnable(graph: Graph | None) -> Graph:
    if graph is None:
        raise UnsupportedError("the file holds tensors without a graph: there is nothing to run")
    return graph


def argument(info: ValueInfo) -> Argument:
    """How a graph input or output is shown to the caller."""
    return Argument(info.name, list(info.shape), info.type)


def _converted(info: ValueInfo, value: npt.ArrayLike) -> npt.NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError:  # ragged sequences
        raise ValueError(f"input {info.name!r} is not an array: expected {_described(info)}") from None
    kinds = "fiub" if info.dtype == "float32" else "iub"
    fits = array.ndim == len(info.shape) and all(
        size > 0 and (not isinstance(expected, int) or size == expected) for size, expected in zip(array.shape, info.shape)
    )
    if not fits or (array.dtype.kind not in kinds and not (array.dtype.name == "bfloat16" and "f" in kinds)):
        raise ValueError(f"input {info.name!r} is {array.dtype} {list(array.shape)}, expected {_described(info)}")
    if info.dtype != "float32" and array.size:
        limits = np.iinfo(info.dtype)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise ValueError(f"input {info.name!r} has values beyond the range of {info.dtype}")
    with np.errstate(over="ignore"):
        # Not ascontiguousarray, which makes one dimension of none.
        return np.require(np.asarray(array, dtype=info.dtype), requirements=["C", "A"])


def _described(info: ValueInfo) -> str:
    return f"{info.dtype} [{', '.join('?' if d is None else str(d) for d in info.shape)}]"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
