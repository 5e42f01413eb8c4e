"""The compiled core. A thin layer: `opq.Session`, `opq.load` and `QuantizedTensor` are the interface for users.

Every function and class may be used from several threads; the interpreter's lock is released while the core works.
Raises opq.FormatError for bytes that are not a valid file or stream, opq.UnsupportedError for what this version cannot do,
ValueError for an argument that does not fit, MemoryError.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__version__: str

Buffer: TypeAlias = bytes | bytearray | memoryview

Port = tuple[str, str, tuple[int, ...]]

class Network:
    """A loaded `.opq` file: graph and weights, packed for this machine. Immutable; any number of sessions share it."""

    def __init__(self, data: Buffer, threads: int = 1, precision: str = "float32", kernels: Mapping[str, str] = {}) -> None:
        """Reads and checks one whole file, all code streams included, on 1 to 1024 threads; `data` is not needed afterwards.

        precision: what its sessions hold activations in, "float32", "int16" or "int8".
        kernels: by the name of a Conv or Linear, the kernel for it, "sparse", "dense", "4-bit" or "depthwise"; for the others
        that of least estimated time. Raises ValueError for a layer that there is not, or that the kernel cannot multiply.
        """

    @property
    def inputs(self) -> list[Port]:
        """Name, element type ("float32", "int32", "int64") and shape of every graph input; -1 where any size fits."""

    @property
    def outputs(self) -> list[Port]:
        """The graph outputs, as `inputs`."""

    @property
    def value_names(self) -> list[str]:
        """The names of all values of the graph; the first, "", is the absent one. Empty without a graph."""

    @property
    def kernel_choices(self) -> list[dict[str, Any]]:
        """One entry per Conv and Linear, in the order of execution, as `opq.Session.plan` gives them."""

    @property
    def packed_bytes(self) -> int:
        """Bytes of memory that hold weights and constants."""

    @property
    def has_graph(self) -> bool:
        """Whether there is anything to run."""

class Session:
    """Runs a network with its own threads and activation memory. Runs of one session take turns."""

    def __init__(self, network: Network, threads: int, keep_all: bool = False) -> None:
        """threads: 1 to 1024, the caller included. keep_all: every value can be fetched; slower, more memory, same bits.

        The kernels are those of the best instruction set of this machine, or of the one that the environment variable
        OPQ_ISA names. Raises UnsupportedError for a network without a graph, ValueError for keep_all with another
        precision than float32.
        """

    def run(self, inputs: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str]) -> list[npt.NDArray[Any]]:
        """The values called `outputs`: graph outputs, or with keep_all any value.

        inputs: for every graph input an aligned array in C order, of exactly its type and of a shape that fits.
        """

    def profile(self) -> list[dict[str, Any]]:
        """One entry per step of the last run, empty before it.

        name, op: the nodes computed in this step and their operators, joined by "+"; kernel; shape: of the output;
        nonzeros: of the weights, 0 without; seconds.
        """

    @property
    def threads(self) -> int: ...
    @property
    def isa(self) -> str:
        """The instruction set of the kernels in use: one of `supported_isas()`."""

    @property
    def arena_bytes(self) -> int:
        """Bytes of activation and scratch memory so far."""

class Matrix:
    """diag(scale) codes, packed for this machine. Immutable."""

    def __init__(self, codes: npt.NDArray[np.int8], scale: npt.NDArray[np.float32], single_column: bool) -> None:
        """codes [m, k], scale [m], both in C order, m and k at least 1. single_column: for x [k, 1] only."""

    def matmul(self, x: npt.NDArray[np.float32], threads: int) -> npt.NDArray[np.float32]:
        """x [k, n] in C order -> diag(scale) codes x [m, n]. threads: 1 to 1024."""

    @property
    def packed_bytes(self) -> int:
        """Bytes of memory that hold the matrix."""

def encode_codes(codes: npt.NDArray[np.int8], levels: int, codec: str, threads: int = 1) -> bytes:
    """The code stream of codes, one or more in C order, all in -levels..levels; levels: 1 to 127.

    codec: "packed", "rans0" or "grouped", which makes use of the shape and the threads, 1 to 1024.
    """

def decode_codes(data: Buffer, count: int, levels: int, codec: str, threads: int = 1) -> npt.NDArray[np.int8]:
    """The `count` codes of a code stream, int8 [count]."""

def estimate_codes(codes: npt.NDArray[np.int8], threads: int) -> float:
    """About the bytes of the grouped stream of codes, for a small part of the time that encoding takes."""

def encode_integers(values: npt.NDArray[np.integer], threads: int) -> bytes:
    """The grouped stream of an int8, int16, int32, uint8 or uint16 array, 1 to 2^32 values in C order."""

def decode_integers(data: Buffer, count: int, dtype: np.dtype[Any], threads: int) -> npt.NDArray[Any]:
    """The `count` values of a grouped stream, dtype [count], all within the range of the type."""

def round_trip_seconds() -> float | None:
    """In which a cache line goes from one thread to another and back; None where there is no second core, or it is busy."""

def peak_products(precision: str) -> float:
    """The most products per second that one thread reaches at this precision: by the dense kernel ("int16": the sparse one) on
    operands that lie in the L1 cache. Takes some milliseconds.
    """

def crc32c(data: Buffer) -> int:
    """CRC32C (Castagnoli), as the file's checksums."""

def supported_isas() -> list[str]:
    """The instruction sets that this machine can run, best first."""

def instruction_set() -> str:
    """The one of them that networks are loaded for: what the environment variable OPQ_ISA names, else the best.

    Raises ValueError for a name that is none of them.
    """

# The passes over the weights of a layer. opq.reference.passes says what they compute: its functions of the same names have
# the same results. Arrays are in C order and aligned; threads: 1 to 1024.

_Codes: TypeAlias = npt.NDArray[np.int8]
_Counts: TypeAlias = npt.NDArray[np.int64]
_Float32: TypeAlias = npt.NDArray[np.float32]
_Float64: TypeAlias = npt.NDArray[np.float64]

def all_finite(values: _Float32, threads: int) -> bool: ...
def channel_energies(weights: _Float32, threads: int) -> tuple[_Float64, bool]: ...
def moments(weights: _Float32, scale: _Float32, threads: int) -> tuple[int, float, float, float, float]: ...
def histogram(weights: _Float32, scale: _Float32, bin_width: float, bins: int, threads: int) -> tuple[_Counts, _Float32]: ...
def nearest_codes(weights: _Float32, scale: _Float32, threshold: float, step: float, levels: int, threads: int) -> _Codes: ...
def squared_error(weights: _Float32, scale: _Float32, codes: _Codes, step: float, threads: int) -> tuple[float, float]: ...
def count_codes(codes: _Codes, group: int, levels: int, threads: int) -> tuple[_Counts, _Counts]: ...
def rate_aware_codes(
    weights: _Float32, scale: _Float32, step: float, count_price: _Float64, level_price: _Float64, rises: _Float32, threads: int
) -> _Codes: ...
def row_sums(values: _Codes | _Float32, steps: _Float32, x: _Float64, threads: int) -> tuple[_Float64, _Float64]: ...
