"""Rate-aware codes: among the codewords next to a weight the one with the least squared error + lambda * bits.

What a code costs is taken from the layer itself. A layer is seen in the groups of the grouped code stream (docs/format.md): the
k x k kernels of a convolution, elsewhere single weights. With P the shares in the layer's present codes,

    bits = sum over groups    of -log2 P(c) + log2 (g choose c)     c of the g codes are not zero, and which ones
         + sum over survivors of -log2 P(|code|) + 1                their levels and signs

Survivors are dear in kernels that are otherwise empty and cheap in full ones, as they are in the file. The choice, given P, is
exact: the best level of a survivor does not depend on its neighbours, so a group keeps the c weights that gain most, for the
best c. Choosing codes for fixed P, and taking P from the codes, both never raise error + lambda * bits (Chou, Lookabaugh and
Gray, *Entropy-constrained vector quantization*, 1989), so two rounds are never worse than the nearest codes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb

import numpy as np
import numpy.typing as npt

from opq.reference.grouped.stream import layout

_Codes = npt.NDArray[np.int8]
_Float32 = npt.NDArray[np.float32]
_Array = npt.NDArray[np.float64]

ROUNDS = 2
_BLOCK = 1 << 17  # weights at a time
_ALWAYS = 2.0**20  # a gain beyond all real ones: it decides alone, and float64 still adds the others to it exactly enough


@dataclass(frozen=True)
class CodeBits:
    """Bits of a layer's codes. What does not occur takes infinitely many.

    count  [g + 1]: a group with c nonzero codes, their places included
    level  [K + 1]: a nonzero code of that magnitude, its sign included; level[0] is not used
    """

    count: _Array
    level: _Array

    @property
    def group(self) -> int:
        """Codes per group, g."""
        return self.count.size - 1


def code_bits(codes: _Codes, levels: int) -> tuple[CodeBits, float]:
    """The bits of each symbol as the codes' own shares have it, and of all codes together."""
    group = layout(codes.shape)[1] or 1
    flat = codes.reshape(-1)
    counts, sizes = np.zeros(group + 1, dtype=np.int64), np.zeros(levels + 1, dtype=np.int64)
    for block in _blocks(flat.size, group):
        magnitude = np.abs(flat[block])
        counts += np.bincount(np.count_nonzero(magnitude.reshape(-1, group), axis=1), minlength=group + 1)
        sizes += np.bincount(magnitude, minlength=levels + 1)
    sizes[0] = 0
    places = np.log2([comb(group, c) for c in range(group + 1)])
    bits = CodeBits(_information(counts) + places, _information(sizes) + 1.0)
    seen = counts > 0, sizes > 0
    return bits, float(counts[seen[0]] @ bits.count[seen[0]] + sizes[seen[1]] @ bits.level[seen[1]])


def rate_aware(codes: _Codes, weights: _Float32, magnitude: _Float32, step: float, levels: int, multiplier: float) -> _Codes:
    """Codes with less error + multiplier * bits than `codes`, or as much.

    codes       int8, the nearest ones, as `opq.quantization.encode` makes them
    weights     float32 of the codes' shape, for the signs
    magnitude   their magnitudes in the step's unit, C-contiguous
    multiplier  squared error, in steps^2, that a bit is worth: lambda

    A code becomes at most one level larger or smaller than |w| / step rounded to the nearest; a survivor near one step may
    become zero, and a pruned weight may come back. Exact zeros stay zero. With a multiplier of 0 the codes stay as they are.
    """
    if multiplier == 0.0:
        return codes
    flat = np.ascontiguousarray(codes).reshape(-1)
    m, negative = magnitude.reshape(-1), np.signbit(weights).reshape(-1)
    for _ in range(ROUNDS):
        bits = code_bits(flat.reshape(codes.shape), levels)[0]
        chosen = np.empty_like(flat)
        for block in _blocks(flat.size, bits.group):
            chosen[block] = _choose(m[block] / np.float32(step), levels, multiplier, bits)
        flat = chosen
    np.negative(flat, out=flat, where=negative)
    return flat.reshape(codes.shape)


def _choose(x: _Float32, levels: int, multiplier: float, bits: CodeBits) -> npt.NDArray[np.intp]:
    """The best magnitudes of the codes of whole groups; x = |w| / step."""
    level: npt.NDArray[np.intp] = np.clip(x, 1.0, levels).astype(np.intp)
    level += x >= _rises(levels, multiplier, bits.level)[level]
    # What surviving saves: x^2 - (x - level)^2 of error, less the level's bits.
    gain = level * (2.0 * x.astype(np.float64) - level) - multiplier * bits.level[level]
    gain[x > 1.5] = _ALWAYS
    gain[x == 0.0] = -_ALWAYS
    price = multiplier * bits.count
    if bits.group == 1:
        return np.where(gain > price[1] - price[0], level, 0)
    gain = gain.reshape(-1, bits.group)
    order = np.argsort(-gain, axis=1, kind="stable")
    total = np.zeros((len(gain), bits.group + 1))
    np.cumsum(np.take_along_axis(gain, order, axis=1), axis=1, out=total[:, 1:])
    survivors = np.argmax(total - price, axis=1)
    keep = np.empty(gain.shape, dtype=np.bool_)
    np.put_along_axis(keep, order, np.arange(bits.group) < survivors[:, None], axis=1)
    return np.where(keep.reshape(-1), level, 0)


def _rises(levels: int, multiplier: float, bits: _Array) -> _Float32:
    """[K + 1]: from which x, between j and j + 1, the level j + 1 is better than j, for j = 1 .. K; never beyond K.

    (x - j)^2 + lambda bits(j) = (x - j - 1)^2 + lambda bits(j + 1)   at   x = j + 1/2 + lambda (bits(j + 1) - bits(j)) / 2
    """
    j = np.arange(levels + 1, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # inf - inf where neither level occurs: not a number, from which no x rises
        rise = j[:-1] + np.clip(0.5 + multiplier * np.diff(bits) / 2.0, 0.0, 1.0)
    return np.append(rise, np.inf).astype(np.float32)


def _information(counts: npt.NDArray[np.int64]) -> _Array:
    """-log2 of each count's share; infinite for 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log2(max(1, int(counts.sum()))) - np.log2(counts))


def _blocks(size: int, group: int) -> Iterator[slice]:
    step = _BLOCK // group * group
    return (slice(start, start + step) for start in range(0, size, step))
