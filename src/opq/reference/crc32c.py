"""CRC32C (Castagnoli), the checksum of the `.opq` file, in NumPy.

The register after n bytes is a linear function over GF(2) of the register before and of the bytes. So the data is cut into
rows of equal length, all rows are processed side by side, and the rows' registers are folded into one by the matrix
that stands for "append a row of zeros".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_POLYNOMIAL = np.uint32(0x82F63B78)  # 0x1EDC6F41 with its bits reversed

_Register = npt.NDArray[np.uint32]


def _make_table() -> _Register:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ _POLYNOMIAL, table >> 1).astype(np.uint32)
    return np.asarray(table)


_TABLE = _make_table()


def _advance(register: _Register, byte: npt.NDArray[np.uint8] | int) -> _Register:
    return np.asarray(_TABLE[(register ^ byte) & 0xFF] ^ (register >> np.uint32(8)))


def _append_zeros(length: int) -> _Register:
    """table[i][v]: the register (v << 8 i) after `length` zero bytes. XOR of the four look-ups advances any register."""
    basis = np.uint32(1) << np.arange(32, dtype=np.uint32)
    power, square = basis.copy(), _advance(basis, 0)
    while length:
        if length & 1:
            power = _apply(square, power)
        square = _apply(square, square)
        length >>= 1
    values = np.arange(256, dtype=np.uint32)
    return np.stack([_apply(power, values << np.uint32(8 * i)) for i in range(4)])


def _apply(matrix: _Register, vectors: _Register) -> _Register:
    """The matrix, given by its images of the 32 unit vectors, times each vector."""
    result = np.zeros_like(vectors)
    for bit in range(32):
        result ^= np.where((vectors >> np.uint32(bit)) & 1, matrix[bit], np.uint32(0)).astype(np.uint32)
    return result


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """The CRC32C of `data`."""
    array = np.frombuffer(data, dtype=np.uint8)
    length = max(1, int(np.sqrt(array.size)))
    rows = array.size // length
    head = array.size - rows * length
    state = np.array([0xFFFFFFFF], dtype=np.uint32)
    for byte in array[:head]:
        state = _advance(state, int(byte))
    if rows:
        columns = np.ascontiguousarray(array[head:].reshape(rows, length).T)
        registers = np.zeros(rows, dtype=np.uint32)
        for column in columns:
            registers = _advance(registers, column)
        shift = _append_zeros(length)
        register = int(state[0])
        tables = [table.tolist() for table in shift]
        for row in registers.tolist():
            register = (
                tables[0][register & 0xFF] ^ tables[1][register >> 8 & 0xFF]
                ^ tables[2][register >> 16 & 0xFF] ^ tables[3][register >> 24] ^ row
            )  # fmt: skip
        return register ^ 0xFFFFFFFF
    return int(state[0]) ^ 0xFFFFFFFF
