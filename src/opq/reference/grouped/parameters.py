"""The parameters of a grouped stream: what the decoder must know before the first code, and their bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from opq.errors import FormatError
from opq.reference.grouped.binary_coder import Decoder, Encoder, Probability
from opq.reference.grouped.tables import (
    BUCKETS,
    GROUP_SIZES,
    LARGEST_WEIGHT,
    MAX_TOKENS,
    SCALE,
    Int,
    count_frequencies,
    mask_starts,
    masks,
    starts,
    token_frequencies,
)  # fmt: skip

COLUMN_GROUP = 8  # codes per group where columns are grouped by their scale
CHUNK_CODES = 1 << 18
SCALE_UNITS = (4, 6, 3, 8)
LARGEST_SCALE = 31
MOST_SCALES = 1 << 20  # along one axis
DENSITY_CLASSES = (1, 3, 5)
SIGNS: tuple[SignMode, ...]
SignMode = Literal["raw", "column", "kernel"]
SIGNS = ("raw", "column", "kernel")
NEIGHBOUR_CLASSES = 6


@dataclass
class Parameters:
    """How the codes are laid out and distributed.

    count            codes in all, seen as rows of `row_length` codes; the last row is filled up with zeros
    kernel           0: groups are 8 columns of like scale; 4..10: groups are that many neighbouring codes, one k x k kernel
    base             bucket of a group in a row and column of scale 0
    dispersion       index of the concentration of the counts
    scale_unit       buckets per unit of a scale: 4, 6, 3 or 8
    row_scale        per row; empty: all 0
    column_scale     per column (per kernel of a row, where groups are kernels); empty: all 0
    mask_weights     by mask, in half powers of 2, beside the other masks of as many nonzeros; empty: all alike
    tokens           size of the alphabet of magnitudes; 0 where no code is nonzero
    boundaries       first bucket of each density class but the lowest, ascending; 0, 2 or 4 of them
    count_classes    1: one class for all groups, 3: of 1, 2-3 and more nonzeros, 5: of 1, 2, 3, 4 and more
    hazards          [density classes * count classes, tokens - 1]
    sign_mode        "raw", "column" (a probability per column) or "kernel" (a probability per distance to the reference sign)
    sign_shares      share of negative (of differing) signs: per column in 1/16, per distance class in 1/64
    """

    count: int
    row_length: int
    kernel: int = 0
    base: int = 0
    dispersion: int = 0
    scale_unit: int = SCALE_UNITS[0]
    row_scale: Int = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    column_scale: Int = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    mask_weights: Int = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    tokens: int = 0
    boundaries: tuple[int, ...] = ()
    count_classes: int = 1
    hazards: Int = field(default_factory=lambda: np.zeros((1, 0), dtype=np.int64))
    sign_mode: SignMode = "raw"
    sign_shares: Int = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def group(self) -> int:
        """Codes per group."""
        return self.kernel or COLUMN_GROUP

    @property
    def rows(self) -> int:
        """Number of rows."""
        return -(-self.count // self.row_length)

    @property
    def columns(self) -> int:
        """Columns that have a scale."""
        return self.row_length // self.kernel if self.kernel else self.row_length

    @property
    def groups_per_row(self) -> int:
        """Groups of a row; the last one may reach beyond the row's end, into zeros."""
        return -(-self.row_length // self.group)

    @property
    def rows_per_chunk(self) -> int:
        """As many rows as have at most 2^18 codes, one at least."""
        return max(1, CHUNK_CODES // (self.groups_per_row * self.group))

    @property
    def lanes(self) -> int:
        """Interleaved states of a chunk."""
        return next((lanes for lanes, bits in ((8, 16), (4, 14), (2, 12)) if self.count >> bits), 1)

    def places(self) -> Int:
        """[groups per row, group]: the column of each code of a row's groups; row_length where the group reaches beyond it.

        Columns of like scale stand together: they are sorted by descending scale, those of one scale by place.
        """
        order = np.arange(self.groups_per_row * self.group, dtype=np.int64)
        if self.column_scale.size and not self.kernel:
            order[: self.row_length] = np.argsort(-self.column_scale, kind="stable")
        order[self.row_length :] = self.row_length
        return order.reshape(self.groups_per_row, self.group)

    def group_scale(self) -> Int:
        """[groups per row]: a kernel's column scale, or the mean of the group's columns, half rounded up."""
        if not self.column_scale.size:
            return np.zeros(self.groups_per_row, dtype=np.int64)
        if self.kernel:
            return self.column_scale
        places = np.minimum(self.places(), self.row_length - 1)  # beyond the row: the last place's column
        if self.row_length % COLUMN_GROUP:
            places[-1, self.row_length % COLUMN_GROUP :] = places[-1, self.row_length % COLUMN_GROUP - 1]
        sums: Int = self.column_scale[places].sum(axis=1)
        return sums + COLUMN_GROUP // 2 >> 3

    def buckets(self) -> Int:
        """[rows, groups per row]: the density bucket of every group."""
        rows = self.row_scale if self.row_scale.size else np.zeros(self.rows, dtype=np.int64)
        scale = rows[:, None] + self.group_scale()
        buckets: Int = np.clip(self.base + self.scale_unit * scale, 0, BUCKETS - 1)
        return buckets

    def density_class(self) -> Int:
        """[128]: the class of each bucket."""
        return np.searchsorted(np.array(self.boundaries), np.arange(BUCKETS), side="right")

    def count_class(self) -> Int:
        """[group + 1]: the class of a group by its number of nonzeros."""
        counts = np.arange(self.group + 1)
        if self.count_classes == 3:
            return np.minimum((counts > 1).astype(np.int64) + (counts > 3), 2)
        return np.clip(counts - 1, 0, self.count_classes - 1)

    def mask_starts(self, count: int) -> Int:
        """[patterns + 1]: start of the range of each mask of `count` nonzeros, in ascending order of the masks."""
        patterns = masks(self.group, count)
        return mask_starts(self.mask_weights[patterns] if self.mask_weights.size else np.zeros_like(patterns))

    def count_table(self) -> tuple[Int, Int]:
        """Frequencies and starts [128, group + 1] of the numbers of nonzeros."""
        frequencies = count_frequencies(self.group, self.dispersion)
        return frequencies, starts(frequencies)

    def token_table(self) -> tuple[Int, Int]:
        """Frequencies and starts [classes, tokens] of the magnitudes' tokens."""
        frequencies = token_frequencies(self.hazards)
        return frequencies, starts(frequencies)

    def sign_frequencies(self) -> Int:
        """Of a negative (differing) sign, per column or per distance class."""
        unit = SCALE // (16 if self.sign_mode == "column" else 64)
        return self.sign_shares * unit + unit // 2


def encode_parameters(parameters: Parameters) -> bytes:
    """The bytes of the parameters; `count` is not among them."""
    encoder = Encoder()
    _transfer(encoder, parameters)
    return encoder.finish()


def decode_parameters(data: bytes | memoryview, count: int) -> Parameters:
    """The parameters of a stream of `count` codes. Raises FormatError."""
    decoder = Decoder(data)
    parameters = Parameters(count, 1)
    _transfer(decoder, parameters)
    decoder.finish()
    return parameters


class _Numbers:
    """Numbers as bits of a coder. Every method returns the number: given (encoder) or read (decoder)."""

    def __init__(self, coder: Encoder | Decoder) -> None:
        self._coder = coder

    def plain(self, value: int, bits: int) -> int:
        """`bits` bits, the highest first, each with a probability of its own."""
        result = 0
        for i in reversed(range(bits)):
            result = result << 1 | self._coder.bit(value >> i & 1, Probability())
        return result


class _Signed:
    """Integers around 0: is it zero, its sign, then its size as Elias' gamma code has it, with a probability per decision.

    The number of bits of the size in unary, then its bits from the second on, those up to the fourth given the ones before.
    """

    def __init__(self, coder: Encoder | Decoder, largest: int) -> None:
        self._coder, self._largest = coder, largest
        self._nonzero, self._negative = Probability(), Probability()
        self._longer = [Probability() for _ in range(8)]
        self._below = [[Probability() for _ in range(8)] for _ in range(8)]

    def code(self, value: int) -> int:
        """One integer, -largest..largest."""
        if not self._coder.bit(int(value != 0), self._nonzero):
            return 0
        negative = self._coder.bit(int(value < 0), self._negative)
        bits = 1
        while bits < 8 and self._coder.bit(int(abs(value) >> bits > 0), self._longer[bits - 1]):
            bits += 1
        size = 1
        for i in reversed(range(bits - 1)):
            model = self._below[bits - 1][size] if size < 8 else Probability()
            size = size << 1 | self._coder.bit(abs(value) >> i & 1, model)
        if size > self._largest:
            raise FormatError("grouped codes: a parameter is out of range")
        return -size if negative else size


def _transfer(coder: Encoder | Decoder, p: Parameters) -> None:
    """Write every field, or read it: the two cannot differ. Raises FormatError for a value out of range."""
    numbers = _Numbers(coder)
    p.kernel = numbers.plain(p.kernel, 4)
    if p.kernel and p.kernel not in GROUP_SIZES:
        raise FormatError(f"grouped codes: groups of {p.kernel}")
    bits = numbers.plain(p.row_length.bit_length(), 5)
    p.row_length = numbers.plain(p.row_length, bits)
    if not 1 <= p.row_length <= CHUNK_CODES or (p.kernel and p.row_length % p.kernel):
        raise FormatError(f"grouped codes: rows of {p.row_length} codes with groups of {p.group}")
    p.base, p.dispersion = numbers.plain(p.base, 7), numbers.plain(p.dispersion, 3)
    p.scale_unit = SCALE_UNITS[numbers.plain(SCALE_UNITS.index(p.scale_unit), 2)]
    p.row_scale = _transfer_scales(coder, numbers, p.row_scale, p.rows)
    p.column_scale = _transfer_scales(coder, numbers, p.column_scale, p.columns)
    p.mask_weights = _transfer_mask_weights(coder, numbers, p)
    p.tokens = numbers.plain(p.tokens, 8)
    if p.tokens > MAX_TOKENS:
        raise FormatError(f"grouped codes: {p.tokens} tokens")
    classes = numbers.plain(len(p.boundaries) // 2, 2)
    if classes > 2:
        raise FormatError("grouped codes: unknown number of density classes")
    given = (*p.boundaries, 0, 0, 0, 0)
    p.boundaries = tuple(numbers.plain(given[i], 7) for i in range(2 * classes))
    if any(a >= b for a, b in zip(p.boundaries, p.boundaries[1:])):
        raise FormatError("grouped codes: the density classes are not in order")
    p.count_classes = 1 + 2 * numbers.plain(p.count_classes // 2, 2)
    if p.count_classes > 5:
        raise FormatError("grouped codes: unknown number of count classes")
    p.hazards = _transfer_hazards(coder, p)
    _transfer_signs(coder, numbers, p)


def _transfer_scales(coder: Encoder | Decoder, numbers: _Numbers, scales: Int, size: int) -> Int:
    if not numbers.plain(int(scales.size > 0), 1):
        return np.zeros(0, dtype=np.int64)
    if size > MOST_SCALES:
        raise FormatError(f"grouped codes: {size} scales")
    signed = _Signed(coder, LARGEST_SCALE)
    given = scales.tolist() or [0] * size
    return np.array([signed.code(value) for value in given], dtype=np.int64)


def _transfer_mask_weights(coder: Encoder | Decoder, numbers: _Numbers, p: Parameters) -> Int:
    if not p.kernel or not numbers.plain(int(p.mask_weights.size > 0), 1):
        return np.zeros(0, dtype=np.int64)
    result = np.zeros(1 << p.kernel, dtype=np.int64)
    given = p.mask_weights if p.mask_weights.size else result
    signed = _Signed(coder, LARGEST_WEIGHT)
    for count in range(1, p.kernel):
        for mask in masks(p.kernel, count):
            result[mask] = signed.code(int(given[mask]))
    return result


def _transfer_hazards(coder: Encoder | Decoder, p: Parameters) -> Int:
    """Differences: along the tokens in the first class, then to the class before."""
    classes, size = (len(p.boundaries) + 1) * p.count_classes, max(0, p.tokens - 1)
    along, across = _Signed(coder, 255), _Signed(coder, 255)
    result = np.zeros((classes, size), dtype=np.int64)
    given = p.hazards.tolist() if p.hazards.shape == result.shape else result.tolist()
    for c in range(classes):
        for s in range(size):
            near = int(result[c - 1, s] if c else result[0, s - 1] if s else 128)
            result[c, s] = near + (across if c else along).code(given[c][s] - near)
            if not 0 <= result[c, s] <= 255:
                raise FormatError("grouped codes: a share is not in 0..255")
    return result


def _transfer_signs(coder: Encoder | Decoder, numbers: _Numbers, p: Parameters) -> None:
    mode = numbers.plain(SIGNS.index(p.sign_mode), 2)
    if mode > 2 or (mode == 2 and not p.kernel):
        raise FormatError("grouped codes: unknown way of signs")
    p.sign_mode = SIGNS[mode]
    size, middle = {"raw": (0, 0), "column": (p.columns, 8), "kernel": (NEIGHBOUR_CLASSES, 32)}[p.sign_mode]
    signed = _Signed(coder, middle)
    given = p.sign_shares.tolist() or [0] * size
    p.sign_shares = np.array([middle + signed.code(value - middle) for value in given], dtype=np.int64)
    if p.sign_shares.size and int(p.sign_shares.max()) >= 2 * middle:
        raise FormatError("grouped codes: a share of signs is too large")
