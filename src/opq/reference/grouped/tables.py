"""Probabilities of the grouped stream, built from small parameters in integers alone: every machine builds the same.

Frequencies of one table sum to 4096. Costs are in 1/65536 bit.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

Int = npt.NDArray[np.int64]

SCALE_BITS = 12
SCALE = 1 << SCALE_BITS
BUCKETS = 128
GROUP_SIZES = range(4, 11)
DISPERSIONS = 8
DIRECT_TOKENS = 32
MAX_TOKENS = 240

# Density of a bucket b = 0..64 in 1/65536: round(65536 / (1 + exp((64 - b) / 8))). The numbers are the definition, not the
# formula; the others follow from D[128 - b] = 65536 - D[b].
_LOWER_DENSITIES = (
    22, 25, 28, 32, 36, 41, 47, 53, 60, 68, 77, 87, 98, 111, 126, 143,
    162, 184, 208, 236, 267, 302, 342, 387, 439, 497, 562, 636, 720, 815, 922, 1042,
    1179, 1333, 1506, 1701, 1921, 2168, 2446, 2758, 3108, 3500, 3938, 4427, 4971, 5577, 6249, 6992,
    7812, 8714, 9702, 10782, 11955, 13226, 14595, 16062, 17625, 19282, 21025, 22849, 24743, 26695, 28693, 30723,
    32768,
)  # fmt: skip
DENSITIES: Int = np.array([*_LOWER_DENSITIES, *(65536 - d for d in _LOWER_DENSITIES[63:0:-1])], dtype=np.int64)

# alpha + beta of the beta-binomial distribution, times 4: from groups that are full or empty to independent codes.
_CONCENTRATIONS = (1, 2, 4, 8, 16, 32, 64, 16384)

# How likely a mask is, beside the others of its count: round(64 * 2^(w / 2)) for w = -12..12.
LARGEST_WEIGHT = 12
WEIGHTS: Int = np.array(
    [1, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024, 1448, 2048, 2896, 4096],
    dtype=np.int64,
)


@cache
def count_frequencies(group: int, dispersion: int) -> Int:
    """[128, group + 1]: how often a group has c nonzeros, by bucket, beta-binomial.

    With alpha = density * concentration and beta = (1 - density) * concentration,
    P(c + 1) / P(c) = (group - c) / (c + 1) * (alpha + c) / (beta + group - c - 1). Weights stay below 2^29: when one reaches
    it, that one and all before it are halved.
    """
    concentration = _CONCENTRATIONS[dispersion]
    alpha, beta = DENSITIES * concentration, (65536 - DENSITIES) * concentration  # in units of 2^-18
    weights = np.zeros((group + 1, BUCKETS), dtype=np.int64)
    weights[0] = 1 << 28
    for c in range(group):
        numerator = (group - c) * (alpha + (c << 18))
        weights[c + 1] = weights[c] * numerator // ((c + 1) * (beta + ((group - c - 1) << 18)))
        while (large := weights[c + 1] >= 1 << 29).any():
            weights[: c + 2, large] >>= 1
    total = weights.sum(axis=0)
    frequencies: Int = (1 + weights * (SCALE - group - 1) // total).T.copy()
    frequencies[np.arange(BUCKETS), frequencies.argmax(axis=1)] += SCALE - frequencies.sum(axis=1)
    return frequencies


def token_frequencies(hazards: Int) -> Int:
    """[..., tokens] from hazards [..., tokens - 1], 0..255: token s takes the share (2 h[s] + 1) / 512 of what is left."""
    tokens = hazards.shape[-1] + 1
    result = np.empty((*hazards.shape[:-1], tokens), dtype=np.int64)
    spare = np.full(hazards.shape[:-1], SCALE - tokens, dtype=np.int64)  # beyond the 1 that every token has
    for s in range(tokens - 1):
        share = spare * (2 * hazards[..., s] + 1) >> 9
        result[..., s] = 1 + share
        spare -= share
    result[..., -1] = 1 + spare
    return result


@cache
def masks(group: int, count: int) -> Int:
    """The masks of `group` bits with `count` of them set, in ascending order; bit t is the code at place t."""
    return np.array(sorted(sum(1 << t for t in places) for places in combinations(range(group), count)), dtype=np.int64)


def mask_starts(weights: Int) -> Int:
    """[patterns + 1]: start of each mask's range of slots, from the weights of the masks of one count.

    Equal weights share the slots evenly; others get 1 slot each and their part of the rest.
    """
    patterns = weights.size
    if (weights == weights[0]).all():
        return np.arange(patterns + 1, dtype=np.int64) * SCALE // patterns
    below = np.concatenate([[0], np.cumsum(WEIGHTS[weights + LARGEST_WEIGHT])])
    starts: Int = np.arange(patterns + 1, dtype=np.int64) + below * (SCALE - patterns) // below[-1]
    return starts


def starts(frequencies: Int) -> Int:
    """The exclusive running sum along the last axis."""
    return np.cumsum(frequencies, axis=-1) - frequencies


@cache
def log2_table() -> Int:
    """[65537]: floor(65536 * log2(x)) by squaring the mantissa; 0 for x = 0."""
    x = np.arange(65537, dtype=np.uint64)
    x[0] = 1
    exponent = np.floor(np.log2(x)).astype(np.uint64)  # exact: x is far below 2^53
    mantissa = x << (np.uint64(31) - exponent)
    result = exponent
    for _ in range(16):
        mantissa = mantissa * mantissa >> np.uint64(31)
        carry = mantissa >> np.uint64(32)
        mantissa >>= carry
        result = result << np.uint64(1) | carry
    return result.astype(np.int64)


def cost(frequencies: Int, total_bits: int = SCALE_BITS) -> Int:
    """-log2(frequency / 2^total_bits); the frequencies are at most 65536."""
    return (total_bits << 16) - log2_table()[frequencies]
