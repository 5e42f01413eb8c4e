// The codewords with the least squared error + lambda * bits. Mirrors src/opq/reference/passes/rate_aware.py, which has
// the formulas; what bits cost is decided in src/opq/rate_aware.py.
#pragma once

#include <vector>

#include "compress/magnitudes.h"

namespace opq::compress {

inline constexpr int kLargestGroup = 10;

// Of codes [count], count a multiple of `group`.
struct CodeCounts {
  std::vector<int64_t> groups;      // [group + 1]: by the number of nonzero codes
  std::vector<int64_t> magnitudes;  // [levels + 1]: codes by magnitude, those of 0 included
};

// Throws Error(kInput) if a code is not in -levels..levels.
CodeCounts count_codes(ThreadPool& pool, const int8_t* codes, int64_t count, int group, int levels);

// lambda times the bits of a group with c nonzero codes and of a nonzero code, and from which |w| / step on the level
// above is the better one.
struct Prices {
  int group;            // 1 to kLargestGroup
  int levels;           // 1 to 127
  const double* count;  // [group + 1]
  const double* level;  // [levels + 1]
  const float* rises;   // [levels + 1], the last not a number
};

void rate_aware_codes(ThreadPool& pool, const Magnitudes& m, float step, const Prices& prices, int8_t* codes);

}  // namespace opq::compress
