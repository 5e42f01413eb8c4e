// Rows of the pooling operators: rows[t] is the input row of tap t, aligned with y.
#pragma once

#include "kernels/kernels.h"

namespace opq {

template <class V, class F>
void pool_row(float* y, std::ptrdiff_t n, F pixels) {
  std::ptrdiff_t p = 0;
  for (; p + V::kLanes <= n; p += V::kLanes) pixels([=](const float* x) { return V::load(x + p); }).store(y + p);
  const int rest = static_cast<int>(n - p);
  if (rest > 0) pixels([=](const float* x) { return V::load_n(x + p, rest); }).store_n(y + p, rest);
}

template <class V>
void max_row(const float* const* rows, int taps, float* y, std::ptrdiff_t n) {
  pool_row<V>(y, n, [=](auto load) {
    V largest = load(rows[0]);
    for (int t = 1; t < taps; ++t) {
      const V v = load(rows[t]);
      largest = select(is_nan(v), v, max(v, largest));
    }
    return largest;
  });
}

template <class V>
void average_row(const float* const* rows, int taps, const float* divisor, float* y, std::ptrdiff_t n) {
  pool_row<V>(y, n, [=](auto load) {
    V sum = V::zero();
    for (int t = 0; t < taps; ++t) sum = sum + load(rows[t]);
    return sum / load(divisor);
  });
}

}  // namespace opq
