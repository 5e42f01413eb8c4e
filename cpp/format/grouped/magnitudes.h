// Magnitudes as tokens and extra bits, so that codebooks of any size have few symbols. Mirrors
// src/opq/reference/grouped/magnitudes.py.
//
// m = |code| - 1. Below 32 the token is m. Above, every power of two is cut into 8 parts: with e = floor(log2 m), the
// token is 32 + 8 (e - 5) + the 3 bits of m below its highest, and the remaining e - 3 bits are stored as they are.
#pragma once

#include <bit>
#include <cstdint>

#include "format/grouped/tables.h"

namespace opq::grouped {

// Number of extra bits of a token, 0..28.
inline int extra_bits(int token) { return token < kDirectTokens ? 0 : ((token - kDirectTokens) >> 3) + 2; }

inline int token_of(uint32_t m) {
  if (m < static_cast<uint32_t>(kDirectTokens)) return static_cast<int>(m);
  const int exponent = std::bit_width(m) - 1;
  return kDirectTokens + 8 * (exponent - 5) + static_cast<int>(m >> (exponent - 3) & 7);
}

// m of a token whose extra bits are 0.
inline uint32_t least_of(int token) {
  return token < kDirectTokens ? static_cast<uint32_t>(token)
                               : static_cast<uint32_t>(8 + (token & 7)) << extra_bits(token);
}

}  // namespace opq::grouped
