// Sums in float64 whose order is fixed, so that their bits do not depend on threads or vector widths. Mirrors
// src/opq/reference/passes/lane_sums.py.
//
//   in a block of 4096 terms  lane j = t[j] + t[j + 8] + t[j + 16] + ...         one addition after the other
//                             ((l0 + l1) + (l2 + l3)) + ((l4 + l5) + (l6 + l7))
//   over the blocks           from first to last
//
// Eight lanes keep the adders busy; a compiler may put them into vectors of any width.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "runtime/parallel.h"

namespace opq::compress {

inline constexpr int64_t kBlock = 4096;  // also what passes take at a time: its magnitudes stay in the first cache
inline constexpr int kLanes = 8;

inline int64_t blocks_of(int64_t size) { return (size + kBlock - 1) / kBlock; }

// The sum of term(0) .. term(n - 1), n <= kBlock; term returns a double.
template <typename Term>
double lane_sum(int64_t n, const Term& term) {
  double lane[kLanes] = {};
  const int64_t whole = n / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) lane[j] += term(i + j);
  }
  for (int64_t i = whole; i < n; ++i) lane[i - whole] += term(i);
  return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

// Every row of [rows, length] has blocks of its own: sums[row] = the blocks' block_sum(row, begin, end) added up, where
// begin and end are columns.
template <typename BlockSum>
void row_lane_sums(ThreadPool& pool, int64_t rows, int64_t length, const BlockSum& block_sum, double* sums) {
  const int64_t per_row = blocks_of(length);
  std::vector<double> parts(per_row > 1 ? rows * per_row : 0);
  double* const results = per_row > 1 ? parts.data() : sums;
  parallel_ranges(pool, rows * per_row, grain_of(std::min(length, kBlock)), [&](int64_t first, int64_t last, int) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t begin = i % per_row * kBlock;
      results[i] = block_sum(i / per_row, begin, std::min(begin + kBlock, length));
    }
  });
  if (per_row == 1) return;
  for (int64_t row = 0; row < rows; ++row) {
    sums[row] = 0.0;
    for (int64_t b = 0; b < per_row; ++b) sums[row] += parts[row * per_row + b];
  }
}

}  // namespace opq::compress
