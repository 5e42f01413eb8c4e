"""The section ACTV: the ranges of activations, on which a session of integer precision holds them (docs/format.md)."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from opq.graph import Graph
from opq.reference.binary import Reader
from opq.reference.half_precision import narrow, round_to, widen


class Range(NamedTuple):
    """The values that an activation is held for: lo <= 0 <= hi, lo < hi, finite, bfloat16. Others are clipped."""

    lo: float
    hi: float


def rounded_range(lo: float, hi: float) -> Range:
    """The nearest range that the file can hold: with 0, and of bfloat16 numbers."""
    low, high = round_to(np.array([min(lo, 0.0), max(hi, 0.0)], np.float32), "bfloat16")
    return Range(float(low), float(high))


def write_ranges(ranges: Mapping[str, Range], graph: Graph) -> bytes:
    """The section's bytes. `ranges` are of float32 inputs of the graph and of values that its nodes make."""
    places = {name: place for place, name in enumerate(_names(graph))}
    entries = sorted((places[name], range_) for name, range_ in ranges.items())
    ends = narrow(np.array([range_ for _, range_ in entries], np.float32).reshape(-1, 2), "bfloat16")
    return struct.pack("<I", len(entries)) + b"".join(
        struct.pack("<I", place) + pair.tobytes() for (place, _), pair in zip(entries, ends, strict=True)
    )


def read_ranges(data: memoryview, graph: Graph) -> dict[str, Range]:
    """The ranges by name. `graph` is the file's. Raises FormatError."""
    names = _names(graph)
    reader = Reader(data, "ACTV")
    ranges: dict[str, Range] = {}
    last = -1
    for _ in range(reader.count("I", len(names), 8, "ranges")):
        place = reader.field("I")
        if not last < place < len(names):
            raise reader.error(f"gives a range to value {place} of {len(names)}, or not in order")
        last = place
        lo, hi = (float(end) for end in widen(np.frombuffer(reader.take(4), "<u2"), "bfloat16"))
        if not (-math.inf < lo <= 0.0 <= hi < math.inf and lo < hi):
            raise reader.error(f"gives value {place} the range {lo} to {hi}")
        ranges[names[place]] = Range(lo, hi)
    reader.finish()
    return ranges


def _names(graph: Graph) -> list[str]:
    """The values that may have a range: the graph's inputs, then what its nodes make, in order."""
    return [info.name for info in graph.inputs] + [node.outputs[0] for node in graph.nodes]
