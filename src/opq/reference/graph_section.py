"""The section GRPH: nodes between named values (docs/format.md)."""

from __future__ import annotations

import math
import struct

from opq.errors import FormatError
from opq.graph import DTYPES, Attribute, Dimension, Graph, Node, ValueInfo
from opq.reference.binary import Reader, pack_string

_LIMIT = 1 << 20
_MAX_RANK = 8


def write_graph(graph: Graph) -> bytes:
    """The section's bytes."""
    numbers: dict[str, int] = {"": 0}
    for info in graph.inputs + graph.outputs:
        numbers.setdefault(info.name, len(numbers))
    for node in graph.nodes:
        for name in node.inputs + node.outputs:
            numbers.setdefault(name, len(numbers))
    parts = [struct.pack("<I", len(numbers)), *map(pack_string, numbers)]
    for infos in (graph.inputs, graph.outputs):
        parts.append(struct.pack("<I", len(infos)))
        parts += [_pack_value(info, numbers[info.name]) for info in infos]
    parts.append(struct.pack("<I", len(graph.nodes)))
    for node in graph.nodes:
        parts += [pack_string(node.op), pack_string(node.name)]
        for names in (node.inputs, node.outputs):
            parts.append(struct.pack(f"<B{len(names)}I", len(names), *(numbers[name] for name in names)))
        parts.append(struct.pack("<B", len(node.attributes)))
        parts += [pack_string(key) + _pack_attribute(value) for key, value in node.attributes.items()]
    return b"".join(parts)


def read_graph(data: memoryview) -> Graph:
    """The graph, as far as the section alone can be checked; `execution.check` looks at what the nodes mean."""
    reader = Reader(data, "GRPH")
    names = [reader.string() for _ in range(reader.count("I", _LIMIT, 2, "values"))]
    if not names or names[0] or len(set(names)) != len(names):
        raise reader.error("has value names that are repeated, or no empty first one")

    def value() -> str:
        number = reader.field("I")
        if number >= len(names):
            raise reader.error(f"refers to value {number} of {len(names)}")
        return names[number]

    inputs, outputs = (
        tuple(_read_value(reader, value()) for _ in range(reader.count("I", _LIMIT, 6, "graph inputs or outputs")))
        for _ in range(2)
    )
    nodes = []
    for _ in range(reader.count("I", _LIMIT, 7, "nodes")):
        op, name = reader.string(), reader.string()
        ins, outs = (tuple(value() for _ in range(reader.field("B"))) for _ in range(2))
        attributes: dict[str, Attribute] = {}
        for _ in range(reader.field("B")):
            key = reader.string()
            if key in attributes:
                raise reader.error(f"repeats attribute {key!r} of node {name!r}")
            attributes[key] = _read_attribute(reader)
        nodes.append(Node(op, name, ins, outs, attributes))
    reader.finish()
    return Graph(inputs, outputs, tuple(nodes))


def _pack_value(info: ValueInfo, number: int) -> bytes:
    parts = [struct.pack("<IBB", number, DTYPES.index(info.dtype) + 1, len(info.shape))]
    for d in info.shape:
        parts.append(struct.pack("<q", d) if isinstance(d, int) else struct.pack("<q", -1) + pack_string(d or ""))
    return b"".join(parts)


def _read_value(reader: Reader, name: str) -> ValueInfo:
    dtype, rank = reader.field("B"), reader.field("B")
    if not 1 <= dtype <= len(DTYPES) or rank > _MAX_RANK:
        raise reader.error(f"gives {name!r} an unknown type or a rank above {_MAX_RANK}")
    shape: list[Dimension] = []
    for _ in range(rank):
        d = reader.field("q")
        if d < -1:
            raise reader.error(f"gives {name!r} a dimension of {d}")
        shape.append(d if d >= 0 else reader.string() or None)
    return ValueInfo(name, DTYPES[dtype - 1], tuple(shape))


def _pack_attribute(value: Attribute) -> bytes:
    if isinstance(value, int):
        return struct.pack("<Bq", 1, value)
    if isinstance(value, float):
        return struct.pack("<Bf", 2, value)
    if isinstance(value, str):
        return b"\x03" + pack_string(value)
    if len(value) > 0xFFFF:
        raise FormatError(f"an attribute has {len(value)} numbers, the format allows 65535")
    return struct.pack(f"<BH{len(value)}q", 4, len(value), *value)


def _read_attribute(reader: Reader) -> Attribute:
    kind = reader.field("B")
    if kind == 1:
        return reader.field("q")
    if kind == 2:
        number = reader.float32()
        if math.isnan(number):
            raise reader.error("has an attribute that is not a number")
        return number
    if kind == 3:
        return reader.string()
    if kind == 4:
        return tuple(reader.field("q") for _ in range(reader.field("H")))
    raise reader.error(f"has an attribute of unknown kind {kind}")
