// What the repairs want to know of weights or codes. Mirrors src/opq/reference/passes/row_sums.py.
#pragma once

#include "compress/lane_sum.h"

namespace opq::compress {

// Of v = float32(values[row, k] * steps[row]), for values [rows, length] and x [rows, length], or [1, length] for all
// rows:
//   energy[row] = sum_k v^2        mean[row] = sum_k v x[row, k]
template <typename Value>
void row_sums(ThreadPool& pool, const Value* values, const float* steps, const double* x, bool one_x, int64_t rows,
              int64_t length, double* energy, double* mean) {
  const auto weight = [=](int64_t row, int64_t begin) {
    return [value = values + row * length + begin, step = steps[row]](int64_t i) {
      return static_cast<double>(static_cast<float>(value[i]) * step);
    };
  };
  const auto block_energy = [=](int64_t row, int64_t begin, int64_t end) {
    return lane_sum(end - begin, [v = weight(row, begin)](int64_t i) { return v(i) * v(i); });
  };
  const auto block_mean = [=](int64_t row, int64_t begin, int64_t end) {
    const double* const other = x + (one_x ? 0 : row * length) + begin;
    return lane_sum(end - begin, [v = weight(row, begin), other](int64_t i) { return v(i) * other[i]; });
  };
  row_lane_sums(pool, rows, length, block_energy, energy);
  row_lane_sums(pool, rows, length, block_mean, mean);
}

}  // namespace opq::compress
