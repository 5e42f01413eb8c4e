#include "runtime/weights.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace opq {

WeightStatistics statistics_of(const Weights& weights, bool with_columns) {
  WeightStatistics statistics;
  if (!weights.has_codes()) {
    const int64_t n = weights.rows * weights.depth;
    statistics.nonzeros = n - std::count(weights.values, weights.values + n, 0.0f);
    return statistics;
  }
  statistics.code_sums.reserve(static_cast<std::size_t>(weights.rows));
  const int64_t counted = (weights.rows + kCountedRows - 1) / kCountedRows;
  if (with_columns) statistics.column_nonzeros.resize(static_cast<std::size_t>(counted * weights.depth));
  for (int64_t m = 0; m < weights.rows; ++m) {
    const int8_t* row = weights.codes_of(m, 1);
    if (with_columns) {
      uint16_t* column_nonzeros = statistics.column_nonzeros.data() + m / kCountedRows * weights.depth;
      for (int64_t k = 0; k < weights.depth; ++k) column_nonzeros[k] += row[k] != 0;
    }
    int64_t positive = 0, negative = 0;
    for (int64_t k = 0; k < weights.depth;) {
      int largest = 0;
      for (const int64_t end = std::min(k + 4, weights.depth); k < end; ++k) {
        const int code = row[k];
        statistics.nonzeros += code != 0;
        largest = std::max(largest, std::abs(code));
        (code > 0 ? positive : negative) += std::abs(code);
      }
      ++statistics.quads[static_cast<std::size_t>(largest)];
      statistics.largest_code = std::max(statistics.largest_code, largest);
    }
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    statistics.code_sums.push_back(
        {static_cast<int32_t>(std::min(positive, kMost)), static_cast<int32_t>(std::min(negative, kMost))});
  }
  return statistics;
}

}  // namespace opq
