"""The codewords next to a weight with the least squared error + lambda * bits; `opq.rate_aware` says what bits cost."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opq.reference.passes.codes import Codes
from opq.reference.passes.lane_sums import Array
from opq.reference.passes.magnitudes import Float32, magnitudes

_ALWAYS = 2.0**20  # a gain beyond all real ones: it decides alone, and float64 still adds the others to it exactly enough


def count_codes(codes: Codes, group: int, levels: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Of codes [n], n a multiple of group: how many groups have 0 .. group nonzeros, how many codes magnitude 0 .. levels."""
    magnitude = np.abs(codes.astype(np.int64))
    nonzeros = np.count_nonzero(magnitude.reshape(-1, group), axis=1)
    if magnitude.max(initial=0) > levels:
        raise ValueError(f"a code has magnitude {magnitude.max()}, more than {levels}")
    return np.bincount(nonzeros, minlength=group + 1), np.bincount(magnitude, minlength=levels + 1)


def rate_aware_codes(
    weights: Float32, scale: Float32, step: float, count_price: Array, level_price: Array, rises: Float32
) -> Codes:
    """The best codes of groups of consecutive weights, each on its own.

    count_price  [group + 1]: lambda times the bits of a group with c nonzero codes; a group has 1 to 10
    level_price  [levels + 1]: lambda times the bits of a nonzero code of that magnitude
    rises        [levels + 1]: from which x = m / step, between j and j + 1, level j + 1 is the better one; the last is NaN

    A survivor's best level does not depend on its neighbours; a group keeps the c weights that gain most, the first of equal
    ones, for the best c, the least of equal ones. Beyond 1.5 steps a weight survives, and at 0 it does not, whatever bits cost.
    """
    group, levels = count_price.size - 1, level_price.size - 1
    with np.errstate(over="ignore"):
        x = (magnitudes(weights, scale) / np.float32(step)).reshape(-1)
    level: npt.NDArray[np.intp] = np.clip(x, 1.0, levels).astype(np.intp)
    level += x >= rises[level]
    # What surviving gains: x^2 - (x - level)^2 of error, less the level's bits.
    with np.errstate(invalid="ignore"):  # of an infinite x, which is beyond 1.5
        gain = level * (2.0 * x.astype(np.float64) - level) - level_price[level]
    gain[x > 1.5] = _ALWAYS
    gain[x == 0.0] = -_ALWAYS
    keep = gain > count_price[1] - count_price[0] if group == 1 else _best_of_groups(gain.reshape(-1, group), count_price)
    code = np.where(keep.reshape(-1), level, 0).reshape(weights.shape)
    return np.where(np.signbit(weights), -code, code).astype(np.int8)


def _best_of_groups(gain: Array, price: Array) -> npt.NDArray[np.bool_]:
    """[groups, group]: which weights survive."""
    order = np.argsort(-gain, axis=1, kind="stable")
    total = np.zeros((len(gain), price.size))
    np.cumsum(np.take_along_axis(gain, order, axis=1), axis=1, out=total[:, 1:])
    survivors = np.argmax(total - price, axis=1)
    keep = np.empty(gain.shape, dtype=np.bool_)
    np.put_along_axis(keep, order, np.arange(price.size - 1) < survivors[:, None], axis=1)
    return keep
