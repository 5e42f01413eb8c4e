"""Reading the constants of a frozen TensorFlow graph without TensorFlow.

Such a file is one protocol buffer, a GraphDef. Of its messages only these fields are read:

    GraphDef     1 node
    NodeDef      1 name   2 op   5 attr, a map: 1 key, 2 AttrValue
    AttrValue    8 tensor
    TensorProto  1 dtype   2 tensor_shape   4 tensor_content   5 float_val
    its shape    2 dim: 1 size

A field is a varint, 8 * number + wire type, and its value. Wire type 0: a varint, 1: eight bytes, 2: a varint and as many bytes
as it says, 5: four bytes.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Fields = dict[int, list[Any]]  # field number -> its values in order: an int for a varint, the bytes of all others

_FLOAT = 1  # DT_FLOAT


def load_constants(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """The float32 constants of a GraphDef by the names of their nodes."""
    constants = {}
    for message in _fields(memoryview(path.read_bytes()))[1]:
        node = _fields(message)
        if bytes(node[2][0]) != b"Const":
            continue
        attributes = {bytes(entry[1][0]): _fields(entry[2][0]) for entry in map(_fields, node[5])}
        tensor = _fields(attributes[b"value"][8][0])
        if tensor[1][0] == _FLOAT:
            constants[bytes(node[1][0]).decode()] = _array(tensor)
    return constants


def _array(tensor: Fields) -> npt.NDArray[np.float32]:
    """Values lie in tensor_content, or in float_val: one for every element, or one for all."""
    shape = [_fields(dim)[1][0] for dim in _fields(tensor[2][0])[2]] if tensor[2] else []
    if tensor[4]:
        return np.frombuffer(tensor[4][0], "<f4").reshape(shape)
    values = np.frombuffer(b"".join(map(bytes, tensor[5])), "<f4")
    return np.broadcast_to(values, shape) if values.size == 1 and shape else values.reshape(shape)


def _fields(message: memoryview) -> Fields:
    fields: Fields = defaultdict(list)
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, position = _varint(message, position)
            fields[number].append(value)
            continue
        if wire_type == 2:
            size, position = _varint(message, position)
        else:
            size = {1: 8, 5: 4}[wire_type]
        fields[number].append(message[position : position + size])
        position += size
    return fields


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """The number that starts at `position`, and the position behind it: seven bits a byte, low ones first."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position
