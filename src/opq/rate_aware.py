"""Rate-aware codes: among the codewords next to a weight the one with the least squared error + lambda * bits.

What a code costs is taken from the layer itself. A layer is seen in the groups of the grouped code stream (docs/format.md): the
k x k kernels of a convolution, elsewhere single weights. With P the shares in the layer's present codes,

    bits = sum over groups    of -log2 P(c) + log2 (g choose c)     c of the g codes are not zero, and which ones
         + sum over survivors of -log2 P(|code|) + 1                their levels and signs

Survivors are dear in kernels that are otherwise empty and cheap in full ones, as they are in the file. The choice, given P, is
exact (`opq.reference.passes.rate_aware`). Choosing codes for fixed P, and taking P from the codes, both never raise
error + lambda * bits (Chou, Lookabaugh and Gray, *Entropy-constrained vector quantization*, 1989), so two rounds are never
worse than the nearest codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, log2
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opq import _core
from opq.threads import checked_threads
from opq.weights import Rows

_Codes = npt.NDArray[np.int8]
_Float32 = npt.NDArray[np.float32]
_Array = npt.NDArray[np.float64]

ROUNDS = 2


@dataclass(frozen=True)
class CodeBits:
    """Bits of a layer's codes. What does not occur takes infinitely many.

    count  [g + 1]: a group with c nonzero codes, their places included
    level  [K + 1]: a nonzero code of that magnitude, its sign included; level[0] is not used
    total  of all codes together
    """

    count: _Array
    level: _Array
    total: float


class Prices(NamedTuple):
    """Tables for `opq.reference.passes.rate_aware_codes`."""

    count_price: _Array
    level_price: _Array
    rises: _Float32


def code_bits(codes: _Codes, group: int, levels: int) -> CodeBits:
    """The bits of each symbol as the codes' own shares have it; consecutive codes make groups."""
    counts, sizes = _core.count_codes(codes.reshape(-1), group, levels, checked_threads(None))
    sizes[0] = 0
    places = np.array([log2(comb(group, c)) for c in range(group + 1)])
    count, level = _information(counts) + places, _information(sizes) + 1.0
    seen = counts > 0, sizes > 0
    return CodeBits(count, level, float(counts[seen[0]] @ count[seen[0]] + sizes[seen[1]] @ level[seen[1]]))


def rate_aware(codes: _Codes, rows: Rows, group: int, step: float, levels: int, multiplier: float) -> _Codes:
    """Codes with less error + multiplier * bits than `codes`, or as much.

    codes       int8, the nearest ones to `rows`, and of their shape
    group       consecutive codes of which the stream says together how many are not zero, 1 to 10
    multiplier  squared error, in steps^2, that a bit is worth: lambda

    A code becomes at most one level larger or smaller than m / step rounded to the nearest; a survivor near one step may become
    zero, and a pruned weight may come back. Exact zeros stay zero. With a multiplier of 0 the codes stay as they are.
    """
    if multiplier == 0.0:
        return codes
    for _ in range(ROUNDS):
        count_price, level_price, rises = prices(code_bits(codes, group, levels), multiplier)
        codes = _core.rate_aware_codes(*rows, step, count_price, level_price, rises, checked_threads(None))
    return codes


def prices(bits: CodeBits, multiplier: float) -> Prices:
    """What the codes are chosen by."""
    return Prices(multiplier * bits.count, multiplier * bits.level, _rises(multiplier, bits.level))


def _rises(multiplier: float, bits: _Array) -> _Float32:
    """[K + 1]: from which x, between j and j + 1, the level j + 1 is better than j, for j = 1 .. K - 1; not a number for K.

    (x - j)^2 + lambda bits(j) = (x - j - 1)^2 + lambda bits(j + 1)   at   x = j + 1/2 + lambda (bits(j + 1) - bits(j)) / 2
    """
    j = np.arange(bits.size - 1, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # inf - inf where neither level occurs: not a number, from which no x rises
        rise = j + np.clip(0.5 + multiplier * np.diff(bits) / 2.0, 0.0, 1.0)
    return np.append(rise, np.nan).astype(np.float32)


def _information(counts: npt.NDArray[np.int64]) -> _Array:
    """-log2 of each count's share; infinite for 0. NumPy's own log2 has other last bits on other machines."""
    whole = log2(max(1, int(counts.sum())))
    return np.array([whole - log2(count) if count else np.inf for count in counts.tolist()])
