"""The encoder's choice of parameters: whatever makes the stream smallest, in integers, so that every encoder finds the same.

The number of nonzeros of a group in row i and column j is modelled with the density 1 / (1 + exp(-(base + r_i + c_j))), in
steps of 1/2 for r and c. The likelihood of a row's scale depends on the row's sum of nonzeros alone, and that of a column's on
the column's sum: so scales are found from the sums, rows and columns in turn, each with its price in bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, product
from math import comb

import numpy as np

from opq.reference.grouped.magnitudes import split
from opq.reference.grouped.parameters import (
    DENSITY_CLASSES,
    LARGEST_SCALE,
    MOST_SCALES,
    NEIGHBOUR_CLASSES,
    SCALE_UNITS,
    Parameters,
    encode_parameters,
)  # fmt: skip
from opq.reference.grouped.signs import differences, references
from opq.reference.grouped.tables import (
    BUCKETS,
    DENSITIES,
    DISPERSIONS,
    LARGEST_WEIGHT,
    SCALE,
    WEIGHTS,
    Int,
    cost,
    count_frequencies,
    log2_table,
    masks,
    token_frequencies,
)  # fmt: skip

_BIT = 1 << 16  # costs are in 1/65536 bit
_LOG2_E = 94548
_LOGIT = 11818  # what a nonzero is cheaper by in the next bucket: log2(e) / 8
_ROUNDS = 3
_PRICES = (1, 2, 4)  # of a scale's bits: more where counts are overdispersed and the sums say less than the model thinks
# About what the parameters' coder takes for a difference of -255..255.
_DIFFERENCE_COST = _BIT * np.array([1 if d == 0 else 1 + 2 * abs(d).bit_length() for d in range(-255, 256)], dtype=np.int64)
_SCALES = np.arange(-LARGEST_SCALE, LARGEST_SCALE + 1)


def fit(codes: Int, row_length: int, kernel: int) -> Parameters:
    """The parameters of the smallest stream for `codes` [n] in this layout, one choice after another."""
    sums = _sums(codes, row_length, kernel)
    kinds = product((False, True) if sums.may_scale_rows else (False,), (False, True))
    best = min((sums.fit(_Choice(rows, columns)) for rows, columns in kinds), key=_cost)
    if best[1].rows or best[1].columns:
        best = min([best, *(sums.fit(replace(best[1], unit=unit)) for unit in SCALE_UNITS[1:])], key=_cost)
        best = min([best, *(sums.fit(replace(best[1], price=price)) for price in _PRICES[1:])], key=_cost)
    p = best[2]
    return _fit_signs(sums.grid, _fit_masks(sums.grid, p)[1] if kernel else p)[1]


def estimate(codes: Int, row_length: int, kernel: int) -> float:
    """About the bytes of that stream: those of the better of two fits, with scales of the rows alone and along both axes."""
    sums = _sums(codes, row_length, kernel)
    total, _, p = min((sums.fit(_Choice(sums.may_scale_rows, columns)) for columns in (False, True)), key=_cost)
    total -= _parameter_cost(p)
    total += _BIT * int(split(np.abs(sums.grid[sums.grid != 0]) - 1)[2].sum())
    if kernel:
        mask_bits, p = _fit_masks(sums.grid, p)
    else:
        counts = (_grouped(sums.grid, p) != 0).sum(axis=1)
        mask_bits = int(log2_table()[[comb(p.group, c) for c in counts.tolist()]].sum())
    sign_bits, p = _fit_signs(sums.grid, p)
    return (total + mask_bits + sign_bits + _parameter_cost(p)) / (8 * _BIT)


def _sums(codes: Int, row_length: int, kernel: int) -> _Sums:
    start = Parameters(codes.size, row_length, kernel)
    grid = np.zeros(start.rows * row_length, dtype=np.int64)
    grid[: codes.size] = codes
    return _Sums(grid.reshape(start.rows, row_length), start)


def _grouped(grid: Int, p: Parameters) -> Int:
    """[groups, group]: the codes as the stream sees them."""
    padded = np.concatenate([grid, np.zeros((len(grid), 1), dtype=grid.dtype)], axis=1)
    return padded[:, p.places()].reshape(-1, p.group)


# --- counts and scales ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Choice:
    """Which scales there are, how coarse they are, and how much their bits count."""

    rows: bool
    columns: bool
    unit: int = SCALE_UNITS[0]
    price: int = _PRICES[0]


def _cost(fitted: tuple[int, _Choice, Parameters]) -> int:
    return fitted[0]


class _Sums:
    """The codes as rows and columns, and what the scales depend on."""

    def __init__(self, grid: Int, start: Parameters) -> None:
        self.grid = grid
        self.may_scale_rows = start.rows <= MOST_SCALES
        nonzero = grid != 0
        self._nonzero = nonzero
        self._trials = start.kernel or 1
        self._rows = nonzero.sum(axis=1)
        self._columns = nonzero.sum(axis=0).reshape(start.columns, self._trials).sum(axis=1)
        ones = int(self._rows.sum())
        zero_cost, one_cost = cost(65536 - DENSITIES, 16), cost(DENSITIES, 16)
        self._start = replace(start, base=int(np.argmin((grid.size - ones) * zero_cost + ones * one_cost)))

    def fit(self, choice: _Choice) -> tuple[int, _Choice, Parameters]:
        """(cost of all but masks and signs, the choice, its parameters)."""
        count_cost, p = _fit_dispersion(self._nonzero, self._scales(choice))
        total, p = _fit_magnitudes(self.grid, count_cost, p)
        return total, choice, p

    def _scales(self, choice: _Choice) -> Parameters:
        base, unit, price = self._start.base, choice.unit, choice.price
        rows, columns = np.zeros_like(self._rows), np.zeros_like(self._columns)
        for i in range(_ROUNDS):
            if choice.rows:
                rows, base = _scales_along(self._rows, columns, rows, base, unit, self._trials, price if i else 0)
            if choice.columns:
                columns, base = _scales_along(self._columns, rows, columns, base, unit, self._trials, price if i else 0)
        none = np.zeros(0, dtype=np.int64)
        return replace(
            self._start, base=base, scale_unit=unit,
            row_scale=rows if choice.rows else none, column_scale=columns if choice.columns else none,
        )  # fmt: skip


def _scales_along(sums: Int, across: Int, before: Int, base: int, unit: int, trials: int, price: int) -> tuple[Int, int]:
    """The scale of every row given those of the columns, or the reverse, and the base that makes their median 0.

    -log2 P(row) = sum over columns of trials * zero_cost(bucket) - sum * (gain of a nonzero in that bucket), the last term
    linear in the scale: but for the buckets at the ends, which scales that lead beyond them are kept out of.
    """
    inside = (base + unit * _SCALES >= 0) & (base + unit * _SCALES < BUCKETS)
    candidates = _SCALES[inside]
    values, numbers = np.unique(across, return_counts=True)
    bucket = np.clip(base + unit * (candidates[:, None] + values), 0, BUCKETS - 1)
    empty = (cost(65536 - DENSITIES, 16)[bucket] * numbers).sum(axis=1) * trials
    bits = price * _prices(before + LARGEST_SCALE, _SCALES.size)[inside]
    distinct, index = np.unique(sums, return_inverse=True)
    best = np.argmin(empty - distinct[:, None] * (_LOGIT * unit) * candidates + bits, axis=1)
    scales = candidates[best][index.ravel()]
    middle = int(np.sort(scales)[(scales.size - 1) // 2])
    moved = min(max(base + unit * middle, 0), BUCKETS - 1)
    return np.clip(scales - middle, -LARGEST_SCALE, LARGEST_SCALE), moved


def _prices(symbols: Int, size: int) -> Int:
    """[size]: bits of each symbol, from how often it occurred before, every one once more than that."""
    counts = np.bincount(symbols, minlength=size) + 1
    prices: Int = log2_table()[min(65536, int(counts.sum()))] - log2_table()[np.minimum(65536, counts)]
    return prices


def _fit_dispersion(nonzero: Int, p: Parameters) -> tuple[int, Parameters]:
    """(cost of the counts, the parameters with the best dispersion)."""
    counts = _grouped(nonzero, p).sum(axis=1)
    histogram = np.bincount(p.buckets().ravel() * (p.group + 1) + counts, minlength=BUCKETS * (p.group + 1))
    histogram = histogram.reshape(BUCKETS, p.group + 1)
    costs = [int((histogram * cost(count_frequencies(p.group, d))).sum()) for d in range(DISPERSIONS)]
    return min(costs), replace(p, dispersion=int(np.argmin(costs)))


# --- masks ----------------------------------------------------------------------------------------------------------------


def _fit_masks(grid: Int, p: Parameters) -> tuple[int, Parameters]:
    """(cost of the masks, the parameters with weights of the masks where these gain more than they cost).

    A mask that occurs n times among N of P patterns is taken as Poisson: -n log2 x + N / P x log2(e) bits for a weight x.
    """
    mask = ((_grouped(grid, p) != 0) << np.arange(p.group)).sum(axis=1)
    histogram = np.bincount(mask, minlength=1 << p.group)
    w = np.arange(-LARGEST_WEIGHT, LARGEST_WEIGHT + 1)
    price = _BIT * np.array([1 if i == 0 else 1 + 2 * abs(i).bit_length() for i in w.tolist()], dtype=np.int64)
    weights = np.zeros(1 << p.group, dtype=np.int64)
    for count in range(1, p.group):
        patterns = masks(p.group, count)
        seen = histogram[patterns]
        rate = int(seen.sum()) * WEIGHTS * _LOG2_E // (64 * patterns.size)
        weights[patterns] = w[np.argmin(rate + price - seen[:, None] * w * (_BIT // 2), axis=1)]
    option = replace(p, mask_weights=weights)
    candidates = [(_mask_cost(histogram, q), q) for q in (p, option)]
    return min(candidates, key=_with_parameters)


def _mask_cost(histogram: Int, p: Parameters) -> int:
    costs = (cost(np.diff(p.mask_starts(c))) @ histogram[masks(p.group, c)] for c in range(1, p.group))
    return int(sum(costs))


# --- magnitudes -----------------------------------------------------------------------------------------------------------


def _fit_magnitudes(grid: Int, count_cost: int, p: Parameters) -> tuple[int, Parameters]:
    """(cost of counts, magnitudes and parameters, the parameters with the best classes of magnitudes)."""
    grouped = _grouped(grid, p)
    nonzero = grouped != 0
    counts = nonzero.sum(axis=1)
    tokens = split(np.abs(grouped[nonzero]) - 1)[0]
    size = int(tokens.max(initial=-1)) + 1
    p = replace(p, tokens=size, hazards=np.zeros((1, max(0, size - 1)), dtype=np.int64))
    if size < 2:
        return count_cost + _parameter_cost(p), p
    place = np.repeat(p.buckets().ravel() * (p.group + 1) + counts, counts)
    histogram = np.bincount(place * size + tokens, minlength=BUCKETS * (p.group + 1) * size)
    histogram = histogram.reshape(BUCKETS, p.group + 1, size)
    candidates = []
    for density_classes, count_classes in product(DENSITY_CLASSES, (1, 3, 5)):
        boundaries = _boundaries(histogram.sum(axis=(1, 2)), density_classes)
        if boundaries is None:
            continue
        option = replace(p, boundaries=boundaries, count_classes=count_classes)
        merged = np.zeros((density_classes * count_classes, size), dtype=np.int64)
        kind = option.density_class()[:, None] * count_classes + option.count_class()
        np.add.at(merged, kind.ravel(), histogram.reshape(-1, size))
        option = replace(option, hazards=_hazards(merged))
        bits = int((merged * cost(token_frequencies(option.hazards))).sum())
        candidates.append((count_cost + bits + _parameter_cost(option), option))
    return min(candidates, key=lambda candidate: candidate[0])


def _parameter_cost(p: Parameters) -> int:
    return 8 * len(encode_parameters(p)) * _BIT


def _with_parameters(candidate: tuple[int, Parameters]) -> int:
    """The cost of symbols and of what they are coded by."""
    return candidate[0] + _parameter_cost(candidate[1])


def _boundaries(histogram: Int, classes: int) -> tuple[int, ...] | None:
    """First buckets of the classes that split the nonzero codes evenly; None where a class would be empty."""
    below = np.cumsum(histogram) - histogram
    total = int(histogram.sum())
    found = [np.flatnonzero(below * classes >= i * total) for i in range(1, classes)]
    if any(not buckets.size for buckets in found):
        return None
    boundaries = tuple(int(buckets[0]) for buckets in found)
    return boundaries if all(a < b for a, b in pairwise(boundaries)) else None


def _hazards(histogram: Int) -> Int:
    """[classes, tokens - 1] from how often every token occurs: each the cheapest with the bits of its difference counted."""
    left = np.cumsum(histogram[:, ::-1], axis=1)[:, ::-1]
    share = 2 * np.arange(256) + 1
    taken, passed = cost(share, 9), cost(512 - share, 9)
    result = np.zeros((len(histogram), histogram.shape[1] - 1), dtype=np.int64)
    for c, s in np.ndindex(*result.shape):
        near = result[c - 1, s] if c else result[0, s - 1] if s else 128
        bits = histogram[c, s] * taken + left[c, s + 1] * passed + _DIFFERENCE_COST[255 - near : 511 - near]
        result[c, s] = np.argmin(bits)
    return result


# --- signs ----------------------------------------------------------------------------------------------------------------


def _fit_signs(grid: Int, p: Parameters) -> tuple[int, Parameters]:
    """(cost of the signs, the parameters with the best way to code them)."""
    candidates = [(int(np.count_nonzero(grid)) * _BIT, p)]
    negative = (grid < 0).sum(axis=0).reshape(p.columns, -1).sum(axis=1)
    positive = (grid > 0).sum(axis=0).reshape(p.columns, -1).sum(axis=1)
    shares = np.arange(16)
    minus, plus = cost(256 * shares + 128), cost(SCALE - 256 * shares - 128)
    chosen = np.full(p.columns, 8)
    for i in range(_ROUNDS):
        bits = negative[:, None] * minus + positive[:, None] * plus + (_prices(chosen, 16) if i else 0)
        chosen = np.argmin(bits, axis=1)
    option = replace(p, sign_mode="column", sign_shares=chosen)
    bits = int((negative * minus[chosen] + positive * plus[chosen]).sum())
    candidates.append((bits, option))
    if p.kernel:
        grouped = _grouped(grid, p)
        nonzero = grouped != 0
        mask = (nonzero << np.arange(p.group)).sum(axis=1)
        kind = references(p.group)[1][mask][nonzero]
        different = differences((grouped < 0).astype(np.int64), mask)[nonzero]
        histogram = np.bincount(2 * kind + different, minlength=2 * NEIGHBOUR_CLASSES).reshape(NEIGHBOUR_CLASSES, 2)
        seen = histogram.sum(axis=1)
        share = np.where(seen > 0, np.minimum(64 * histogram[:, 1] // np.maximum(seen, 1), 63), 32)
        option = replace(p, sign_mode="kernel", sign_shares=share)
        bits = int((histogram * cost(np.stack([SCALE - 64 * share - 32, 64 * share + 32], axis=1))).sum())
        candidates.append((bits, option))
    return min(candidates, key=_with_parameters)
