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

// Of activations that are held as integers, 16 at a time. Rows may be read up to 15 elements further.
template <class V, class T>
void max_integer_row(const T* const* rows, int taps, T* y, std::ptrdiff_t n) {
  typedef T Chunk __attribute__((vector_size(16 * sizeof(T))));
  for (std::ptrdiff_t p = 0; p < n; p += 16) {
    Chunk largest, v;
    __builtin_memcpy(&largest, rows[0] + p, sizeof largest);
    for (int t = 1; t < taps; ++t) {
      __builtin_memcpy(&v, rows[t] + p, sizeof v);
      largest = v > largest ? v : largest;
    }
    if (n - p >= 16) {
      __builtin_memcpy(y + p, &largest, sizeof largest);
    } else {
      for (std::ptrdiff_t i = 0; i < n - p; ++i) y[p + i] = largest[i];
    }
  }
}

}  // namespace opq
