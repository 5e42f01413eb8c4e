"""Magnitudes as tokens and extra bits, so that codebooks of any size have few symbols.

m = |code| - 1. Below 32 the token is m. Above, every power of two is cut into 8 parts: with e = floor(log2 m), the token is
32 + 8 (e - 5) + the 3 bits of m below its highest, and the remaining e - 3 bits are stored as they are.
"""

from __future__ import annotations

import numpy as np

from opq.reference.grouped.tables import DIRECT_TOKENS, Int


def split(m: Int) -> tuple[Int, Int, Int]:
    """(tokens, extra bits, number of extra bits) of m, 0 <= m < 2^31."""
    exponent = np.frexp(np.maximum(m, 1).astype(np.float64))[1].astype(np.int64) - 1
    large = m >= DIRECT_TOKENS
    width = np.where(large, exponent - 3, 0)
    tokens = np.where(large, DIRECT_TOKENS + 8 * (exponent - 5) + (m >> width & 7), m)
    return tokens, m & ((1 << width) - 1), width


def widths(tokens: Int) -> Int:
    """Number of extra bits of each token."""
    return np.where(tokens >= DIRECT_TOKENS, (tokens - DIRECT_TOKENS >> 3) + 2, 0)


def join(tokens: Int, extra: Int) -> Int:
    """m from tokens and extra bits."""
    width = widths(tokens)
    return np.where(tokens >= DIRECT_TOKENS, (8 + (tokens & 7) << width) + extra, tokens)
