// What things cost in 1/65536 bit, and the cheapest of them.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>

#include "format/grouped/tables.h"

namespace opq::grouped {

inline constexpr int64_t kBit = 1 << 16;

// About what the parameters' coder takes for a difference.
inline int64_t difference_cost(int difference) {
  return difference == 0 ? kBit : kBit * (1 + 2 * std::bit_width(static_cast<unsigned>(std::abs(difference))));
}

// The place of the smallest of cost(0), cost(1), ...; the first of equals.
template <typename Cost>
int argmin(int size, const Cost& cost_of) {
  int best = 0;
  int64_t least = cost_of(0);
  for (int i = 1; i < size; ++i) {
    if (const int64_t here = cost_of(i); here < least) best = i, least = here;
  }
  return best;
}

// Bits of each symbol, from how often it occurred before, every one once more than that.
template <int kSymbols, typename Symbols>
std::array<int64_t, kSymbols> prices(const Symbols& symbols, int first) {
  std::array<int64_t, kSymbols> counts;
  counts.fill(1);
  for (const auto symbol : symbols) ++counts[symbol - first];
  const int64_t total = static_cast<int64_t>(symbols.size()) + kSymbols;
  const auto log = [](int64_t count) { return log2_cost(static_cast<uint32_t>(std::min<int64_t>(65536, count))); };
  std::array<int64_t, kSymbols> result;
  for (int s = 0; s < kSymbols; ++s) result[s] = log(total) - log(counts[s]);
  return result;
}

}  // namespace opq::grouped
