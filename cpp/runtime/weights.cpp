#include "runtime/weights.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "runtime/quad_split.h"

namespace opq {
namespace {

// Of so many codes, in numbers of 32 bits, which the compiler's vectors hold more of.
constexpr int64_t kCodesAtOnce = 1 << 16;

struct PartSums {
  int nonzeros = 0, largest = 0, positive = 0, negative = 0;
};

PartSums sums_of(const int8_t* codes, int64_t count) {
  PartSums sums;
  for (int64_t k = 0; k < count; ++k) {
    const int positive = std::max<int>(codes[k], 0), negative = std::max<int>(-codes[k], 0);
    sums.nonzeros += codes[k] != 0;
    sums.largest = std::max(sums.largest, positive + negative);
    sums.positive += positive;
    sums.negative += negative;
  }
  return sums;
}

}  // namespace

WeightStatistics statistics_of(const Weights& weights, const Counted& counted) {
  WeightStatistics statistics;
  if (!weights.has_codes()) {
    const int64_t n = weights.rows * weights.depth;
    statistics.nonzeros = n - std::count(weights.values, weights.values + n, 0.0f);
    return statistics;
  }
  statistics.quads = weights.rows * ((weights.depth + 3) / 4);
  statistics.code_sums.reserve(static_cast<std::size_t>(weights.rows));
  const int64_t row_blocks = (weights.rows + kCountedRows - 1) / kCountedRows;
  if (counted.column_nonzeros) statistics.column_nonzeros.resize(static_cast<std::size_t>(row_blocks * weights.depth));
  LargeQuadCounter large_quads;
  for (int64_t m = 0; m < weights.rows; ++m) {
    const int8_t* row = weights.codes_of(m, 1);
    if (counted.column_nonzeros) {
      uint16_t* column_nonzeros = statistics.column_nonzeros.data() + m / kCountedRows * weights.depth;
      for (int64_t k = 0; k < weights.depth; ++k) column_nonzeros[k] += row[k] != 0;
    }
    if (counted.large_quads) large_quads.add_row(row, weights.depth);
    int64_t positive = 0, negative = 0;
    for (int64_t k = 0; k < weights.depth; k += kCodesAtOnce) {
      const PartSums part = sums_of(row + k, std::min(kCodesAtOnce, weights.depth - k));
      statistics.nonzeros += part.nonzeros;
      statistics.largest_code = std::max(statistics.largest_code, part.largest);
      positive += part.positive;
      negative += part.negative;
    }
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    statistics.code_sums.push_back(
        {static_cast<int32_t>(std::min(positive, kMost)), static_cast<int32_t>(std::min(negative, kMost))});
  }
  if (counted.large_quads) statistics.large_quads = large_quads.counts();
  return statistics;
}

}  // namespace opq
