"""What codes cost, from counts of them: about what the grouped code stream (docs/format.md) takes.

A layer is seen in the groups of that stream: the k x k kernels of a convolution, elsewhere single weights. With P the shares in
the layer's codes,

    bits = sum over groups    of -log2 P(c) + log2 (g choose c)     c of the g codes are not zero, and which ones
         + sum over survivors of -log2 P(|code|) + 1                their levels and signs

So survivors are dear in kernels that are otherwise empty and cheap in full ones, as they are in the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, log2

import numpy as np
import numpy.typing as npt

from opq import _core
from opq.reference.grouped.stream import layout
from opq.threads import checked_threads

_Array = npt.NDArray[np.float64]


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


def group_size(shape: tuple[int, ...]) -> int:
    """How many consecutive codes of a layer of this shape make a group."""
    return layout(shape)[1] or 1


def code_bits(codes: npt.NDArray[np.int8], group: int, levels: int) -> CodeBits:
    """The bits of each symbol as the codes' own shares have it; consecutive codes make groups."""
    counts, sizes = _core.count_codes(codes.reshape(-1), group, levels, checked_threads(None))
    sizes[0] = 0
    places = np.array([log2(comb(group, c)) for c in range(group + 1)])
    count, level = _information(counts) + places, _information(sizes) + 1.0
    seen = counts > 0, sizes > 0
    return CodeBits(count, level, float(counts[seen[0]] @ count[seen[0]] + sizes[seen[1]] @ level[seen[1]]))


def _information(counts: npt.NDArray[np.int64]) -> _Array:
    """-log2 of each count's share; infinite for 0. NumPy's own log2 has other last bits on other machines."""
    whole = log2(max(1, int(counts.sum())))
    return np.array([whole - log2(count) if count else np.inf for count in counts.tolist()])
