"""What every byte of an `.opq` file is for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from opq import _core
from opq.compressed import CompressedModel
from opq.quantization import QuantizedTensor
from opq.reference.codec import read_frequencies
from opq.reference.container import CHECKSUM_BYTES, read_container, section_lengths
from opq.reference.grouped.anatomy import stream_parts

Counts = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]

_PARTS = ("masks", "magnitudes", "signs", "side information", "tables")


@dataclass(frozen=True)
class CodeBytes:
    """The bytes of one tensor's codes by what they say. Shares of bits that no symbol has for its own are not whole numbers.

    masks             which codes are nonzero
    magnitudes        of the nonzero codes
    signs             of the nonzero codes
    side_information  scales of rows and columns, as the coder knows them
    tables            all other parameters of the coder: frequencies
    framing           lengths of chunks, states, rounding
    entropy           not in the file: an ideal code that knows how often each integer occurs in the tensor, without its table
    """

    masks: float
    magnitudes: float
    signs: float
    side_information: float
    tables: float
    framing: float
    entropy: float


def code_bytes(model: CompressedModel) -> dict[str, CodeBytes]:
    """The parts of every quantized tensor's stream, by name."""
    return {name: _code_bytes(tensor, model.entries[name].codec, stream) for name, tensor, stream in _streams(model)}


def file_parts(model: CompressedModel, codes: dict[str, CodeBytes]) -> dict[str, float]:
    """Bytes of the file by purpose, from `code_bytes`; they add up to the length of the file."""
    parts = {
        field.name.replace("_", " "): math.fsum(getattr(part, field.name) for part in codes.values())
        for field in fields(CodeBytes)
        if field.name != "entropy"
    }
    entries = model.entries
    lengths = section_lengths(model.to_bytes())
    sections = len(lengths)
    parts["channel scales"] = sum(entries[name].scale_bytes for name in codes)
    parts["dense tensors"] = sum(entry.bytes for name, entry in entries.items() if name not in codes)
    parts["names and shapes"] = lengths.pop(b"TENS")
    parts["graph"] = lengths.pop(b"GRPH", 0)
    parts["activation ranges"] = lengths.pop(b"ACTV", 0)
    parts["report"] = lengths.pop(b"REPT", 0)
    del lengths[b"DATA"]
    if lengths:
        parts["other sections"] = sum(lengths.values())
    parts["checksums"] = CHECKSUM_BYTES * (2 + sections)
    parts["header and section table"] = model.file_bytes - math.fsum(parts.values())
    return parts


def _streams(model: CompressedModel) -> Iterator[tuple[str, QuantizedTensor, memoryview]]:
    """(name, tensor, its codes' stream in the file) of every quantized tensor."""
    data = read_container(model.to_bytes(), _core.crc32c)[b"DATA"]
    position = 0
    for name, entry in model.entries.items():
        tensor = model.tensors[name]
        if isinstance(tensor, QuantizedTensor):
            yield name, tensor, data[position + entry.scale_bytes : position + entry.bytes]
        position += entry.bytes


def _code_bytes(tensor: QuantizedTensor, codec: str, stream: memoryview) -> CodeBytes:
    codes = tensor.codes.ravel()
    counts = np.bincount(codes.astype(np.int64) + tensor.levels, minlength=2 * tensor.levels + 1)
    if codec == "grouped":
        known = stream_parts(stream, codes)
    else:
        probability, table = np.full(counts.size, 0.5 ** (2 * tensor.levels).bit_length()), 0
        if codec == "rans0":
            frequencies, table = read_frequencies(stream, counts.size)
            probability = frequencies / frequencies.sum()
        known = {**_symbol_parts(counts, probability), "tables": float(table)}
    values = [known.get(part, 0.0) for part in _PARTS]
    masks, magnitudes, signs, side, tables = values
    framing = len(stream) - math.fsum(values)
    return CodeBytes(masks, magnitudes, signs, side, tables, framing, _cost(counts, counts / codes.size))


def _symbol_parts(counts: Counts, probability: Probabilities) -> dict[str, float]:
    """The bytes of one symbol per code, as if it said first whether the code is nonzero, then its sign, then its magnitude."""
    levels = counts.size // 2

    def nonzero_and_sign(values: npt.NDArray[Any]) -> list[Any]:
        return [values[levels], values[:levels].sum(), values[levels + 1 :].sum()]

    zero, negative, positive = nonzero_and_sign(counts)
    p_zero, p_negative, p_positive = nonzero_and_sign(probability)
    masks = _cost(np.array([zero, negative + positive]), np.array([p_zero, p_negative + p_positive]))
    with_signs = _cost(np.array([zero, negative, positive]), np.array([p_zero, p_negative, p_positive]))
    return {"masks": masks, "signs": with_signs - masks, "magnitudes": _cost(counts, probability) - with_signs}


def _cost(counts: Counts, probability: Probabilities) -> float:
    """Bytes of symbols that occur `counts` times and are coded by their probabilities."""
    seen = counts > 0
    return float(-counts[seen] @ np.log2(probability[seen])) / 8.0
