"""Rate-aware codes: among the codewords next to a weight the one with the least squared error + lambda * bits.

What a code costs is taken from the layer itself (`opq.code_bits`), with P the shares in the layer's present codes. The choice,
given P, is exact (`opq.reference.passes.rate_aware`). Choosing codes for fixed P, and taking P from the codes, both never raise
error + lambda * bits (Chou, Lookabaugh and Gray, *Entropy-constrained vector quantization*, 1989), so two rounds are never
worse than the nearest codes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opq import _core
from opq.code_bits import CodeBits, code_bits
from opq.threads import checked_threads
from opq.weights import Rows

_Codes = npt.NDArray[np.int8]
_Float32 = npt.NDArray[np.float32]
_Array = npt.NDArray[np.float64]

ROUNDS = 2


class Prices(NamedTuple):
    """Tables for `opq.reference.passes.rate_aware_codes`."""

    count_price: _Array
    level_price: _Array
    rises: _Float32


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
