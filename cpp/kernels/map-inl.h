// Loops over contiguous elements, 8 at a time; the last group is loaded and stored in part.
#pragma once

#include <cstddef>

namespace opq {

// y[i] = f(x[i])
template <class V, class F>
void map(const float* x, float* y, std::size_t n, F f) {
  std::size_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) f(V::load(x + i)).store(y + i);
  const int rest = static_cast<int>(n - i);
  if (rest > 0) f(V::load_n(x + i, rest)).store_n(y + i, rest);
}

// y[i] = f(a[i], b[i])
template <class V, class F>
void map(const float* a, const float* b, float* y, std::size_t n, F f) {
  std::size_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) f(V::load(a + i), V::load(b + i)).store(y + i);
  const int rest = static_cast<int>(n - i);
  if (rest > 0) f(V::load_n(a + i, rest), V::load_n(b + i, rest)).store_n(y + i, rest);
}

}  // namespace opq
