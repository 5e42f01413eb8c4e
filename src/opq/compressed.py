"""A compressed model in memory, and the `.opq` file that holds it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from opq import _core
from opq.atomic import write_atomically
from opq.details import read_details
from opq.errors import FormatError
from opq.graph import Graph
from opq.precision import Precision
from opq.quantization import QuantizedTensor
from opq.reference.checking import check
from opq.reference.container import read_container, write_container
from opq.reference.graph_section import read_graph, write_graph
from opq.reference.ranges_section import Range, read_ranges, write_ranges
from opq.reference.tensor_section import Progress, Tensor, TensorEntry, no_progress, read_tensors, write_tensors
from opq.report import build_report
from opq.source import FileSource, errors_named, read_source
from opq.threads import checked_threads


@dataclass(frozen=True, eq=False)
class CompressedModel(Mapping[str, Tensor]):
    """A network (or a mapping of tensors, `graph` None) after compression; a mapping of its tensors by name.

    graph    the nodes, or None
    tensors  name -> QuantizedTensor, or an array that stayed dense
    details  what cannot be read off the tensors: dense bytes, budget, and each layer's threshold, predictions and error
    ranges   of activations, by the name of the value: a session of integer precision holds them on these
    """

    graph: Graph | None
    tensors: Mapping[str, Tensor]
    details: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __repr__(self) -> str:
        quantized = sum(isinstance(tensor, QuantizedTensor) for tensor in self.tensors.values())
        return f"CompressedModel({quantized} quantized tensors of {len(self)}, {len(self._file)} bytes)"

    def __reduce__(self) -> tuple[Any, ...]:
        return from_bytes, (self.to_bytes(),)  # pickles as its file: a mapping it was loaded from cannot be

    def with_ranges(self, ranges: Mapping[str, Range]) -> CompressedModel:
        """The same with other ranges of activations. No tensor is encoded again."""
        result = replace(self, ranges=ranges)
        if self.graph is not None:
            sections = {kind: bytes(content) for kind, content in read_container(self._file, _core.crc32c).items()}
            details = sections.pop(b"REPT")
            sections.pop(b"ACTV", None)
            if ranges:
                sections[b"ACTV"] = write_ranges(ranges, self.graph)
            sections[b"REPT"] = details  # the last one, as `to_bytes` has it
            result.__dict__["_file"] = write_container(sections, _core.crc32c)
        return result

    def dense_tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Every tensor as an array: the quantized ones as float32."""
        return {n: t.dequantize() if isinstance(t, QuantizedTensor) else t for n, t in self.tensors.items()}

    def encode(self, progress: Progress) -> None:
        """Encode the file, which is otherwise done when it is first asked for; `progress(done, total)` counts elements."""
        self.__dict__["_file"] = to_bytes(self, progress)

    def to_bytes(self) -> bytes:
        """The `.opq` file as bytes."""
        return bytes(self._file)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the `.opq` file. It appears whole or not at all: a failure leaves an older file as it was."""
        write_atomically(path, self._file)

    @property
    def report(self) -> dict[str, Any]:
        """Per-layer table, totals and the three compression rates, as plain data: see `opq.report.build_report`."""
        return build_report(self, self.entries, len(self._file), self.packed_bytes)

    @property
    def file_bytes(self) -> int:
        """Length of the `.opq` file."""
        return len(self._file)

    @cached_property
    def _file(self) -> bytes | memoryview:
        return to_bytes(self)

    @cached_property
    def entries(self) -> dict[str, TensorEntry]:
        """Codec and bytes of every tensor in the file."""
        sections = read_container(self._file, _core.crc32c)
        return read_tensors(sections[b"TENS"], sections[b"DATA"], _no_decoding)[1]

    @property
    def network(self) -> _core.Network:
        """The network loaded into the compiled core, shared by every session of precision "float32" on this model."""
        return self.network_of("float32")

    def network_of(self, precision: Precision, kernels: Mapping[str, str] | None = None) -> _core.Network:
        """The network loaded into the compiled core for sessions of this precision, shared by them unless they name kernels."""
        if kernels:
            return _core.Network(self._file, checked_threads(None), precision, kernels)
        key = (precision, _core.instruction_set())
        if key not in self._networks:
            self._networks[key] = _core.Network(self._file, checked_threads(None), precision)
        return self._networks[key]

    @cached_property
    def _networks(self) -> dict[tuple[str, str], _core.Network]:
        return {}

    @cached_property
    def packed_bytes(self) -> int:
        """Bytes of all weights as the core's kernels hold them at run time, dense tensors included."""
        if self.graph is not None:
            return self.network.packed_bytes
        return sum(t.packed_vector.packed_bytes if isinstance(t, QuantizedTensor) else t.nbytes for t in self.tensors.values())


def to_bytes(model: CompressedModel, progress: Progress = no_progress) -> bytes:
    """The `.opq` file of a model, codes encoded by the compiled core."""
    directory, data = write_tensors(model.tensors, _encode, progress)
    sections = {b"TENS": directory, b"DATA": data}
    if model.graph is not None:
        sections[b"GRPH"] = write_graph(model.graph)
        if model.ranges:
            sections[b"ACTV"] = write_ranges(model.ranges, model.graph)
    sections[b"REPT"] = json.dumps(model.details, separators=(",", ":")).encode()
    return write_container(sections, _core.crc32c)


def from_bytes(data: bytes | memoryview, progress: Progress = no_progress) -> CompressedModel:
    """The model in an `.opq` file, whose bytes it keeps. Raises FormatError, saying what is wrong with it."""
    sections = read_container(data, _core.crc32c)
    tensors, entries = read_tensors(sections[b"TENS"], sections[b"DATA"], _decode, progress)
    graph, ranges = None, {}
    if b"GRPH" in sections:
        graph = read_graph(sections[b"GRPH"])
        check(graph, tensors)
        if b"ACTV" in sections:
            ranges = read_ranges(sections[b"ACTV"], graph)
    elif b"ACTV" in sections:
        raise FormatError("section 'ACTV' gives ranges to the values of a graph, and there is none")
    details = read_details(sections[b"REPT"]) if b"REPT" in sections else {}
    model = CompressedModel(graph, tensors, details, ranges)
    # What has been read is what it would write; loading need not encode again.
    model.__dict__["_file"], model.__dict__["entries"] = data, entries
    return model


def load(source: FileSource, *, offset: int | None = None, progress: Progress = no_progress) -> CompressedModel:
    """Read an `.opq` file.

    source    a path; or bytes, a memory mapping, a uint8 array or any other buffer of bytes; or an open binary file, seekable
              or not, which is read from its position up to the end of the `.opq` file and not further
    offset    None: the path or buffer is one `.opq` file, and bytes behind its end are an error.
              A number, 0 included: the file starts at that byte of a larger blob (of an open file, that many bytes behind
              its position), and what follows is not looked at.
    progress  called with (done, total) bytes of the tensors after each of them

    A read-only buffer is used in place, so that several processes can share one mapping (`mmap.ACCESS_READ`). The model
    keeps it until it is freed; the mapped file must not be changed or cut off meanwhile. A writable buffer is copied.

    Raises FormatError, naming the file and what is wrong with it, OSError, TypeError for a source of another kind, ValueError
    for an offset that is none.
    """
    with errors_named(source, offset):
        return from_bytes(read_source(source, offset), progress)


def _encode(codes: npt.NDArray[np.int8], levels: int, codec: str) -> bytes:
    return _core.encode_codes(codes, levels, codec, checked_threads(None))


def _decode(data: bytes | memoryview, count: int, levels: int, codec: str) -> npt.NDArray[np.int8]:
    return _core.decode_codes(data, count, levels, codec, checked_threads(None))


def _no_decoding(data: bytes | memoryview, count: int, levels: int, codec: str) -> npt.NDArray[np.int8]:
    """Stands in for a decoder where only the directory is of interest."""
    return np.zeros(count, dtype=np.int8)
