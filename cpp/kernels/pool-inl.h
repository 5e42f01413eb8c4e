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

// Of activations that are held as integers, in chunks of up to 32 bytes, of which the last two overlap. Windows of
// three taps are usual: their number is a constant for the compiler.
template <class V, int chunk, class T, class Taps>
inline void max_chunks(const T* const* rows, Taps taps, T* y, std::ptrdiff_t n) {
  typedef T Chunk __attribute__((vector_size(chunk * sizeof(T))));
  const auto max_at = [=](std::ptrdiff_t p) {
    Chunk largest, v;
    __builtin_memcpy(&largest, rows[0] + p, sizeof largest);
    for (int t = 1; t < taps; ++t) {
      __builtin_memcpy(&v, rows[t] + p, sizeof v);
      largest = v > largest ? v : largest;
    }
    __builtin_memcpy(y + p, &largest, sizeof largest);
  };
  for (std::ptrdiff_t p = 0; p < n - chunk; p += chunk) max_at(p);
  max_at(n - chunk);
}

template <class V, class T, class Taps>
inline void max_integers(const T* const* rows, Taps taps, T* y, std::ptrdiff_t n) {
  if (sizeof(T) == 1 && n >= 32) return max_chunks<V, 32 / sizeof(T)>(rows, taps, y, n);
  if (n >= 16) return max_chunks<V, 16>(rows, taps, y, n);
  if (n >= 8) return max_chunks<V, 8>(rows, taps, y, n);
  if (n > 0) max_chunks<V, 1>(rows, taps, y, n);
}

struct ThreeTaps {
  constexpr operator int() const { return 3; }
};

template <class V, class T>
void max_integer_row(const T* const* rows, int taps, T* y, std::ptrdiff_t n) {
  if (taps == 3) return max_integers<V>(rows, ThreeTaps(), y, n);
  max_integers<V>(rows, taps, y, n);
}

}  // namespace opq
