// Copies a plane, or every step-th element of its rows: y[r][p] = x[r][p * step].
#pragma once

#include "kernels/kernels.h"

namespace opq {

template <class V>
void copy_row(const float* x, float* y, std::ptrdiff_t n) {
  std::ptrdiff_t p = 0;
  for (; p + kVector <= n; p += kVector) V::load(x + p).store(y + p);
  const int rest = static_cast<int>(n - p);
  if (rest > 0) V::load_n(x + p, rest).store_n(y + p, rest);
}

template <class V>
void copy_every_second(const float* x, float* y, std::ptrdiff_t n) {
  std::ptrdiff_t p = 0;
  // The last vector read ends one element behind the last element copied, so p + 8 == n is left to the loop below.
  for (; p + kVector < n; p += kVector) even_lanes(V::load(x + 2 * p), V::load(x + 2 * p + kVector)).store(y + p);
  for (; p < n; ++p) y[p] = x[2 * p];
}

template <class V>
void copy_rows(const float* x, std::ptrdiff_t x_stride, std::ptrdiff_t step, float* y, std::ptrdiff_t y_stride,
               std::ptrdiff_t rows, std::ptrdiff_t n) {
  for (std::ptrdiff_t r = 0; r < rows; ++r, x += x_stride, y += y_stride) {
    if (step == 1) {
      copy_row<V>(x, y, n);
    } else if (step == 2) {
      copy_every_second<V>(x, y, n);
    } else {
      for (std::ptrdiff_t p = 0; p < n; ++p) y[p] = x[p * step];
    }
  }
}

}  // namespace opq
