// Copies a plane, or every step-th element of its rows: y[r][p] = x[r][p * step]. The last vector of a row overlaps the
// one before it: masked stores take several times as long.
#pragma once

#include "kernels/kernels.h"

namespace opq {

template <class V>
void copy_row(const float* x, float* y, std::ptrdiff_t n) {
  if (n < kVector) return V::load_n(x, static_cast<int>(n)).store_n(y, static_cast<int>(n));
  for (std::ptrdiff_t p = 0; p < n - kVector; p += kVector) V::load(x + p).store(y + p);
  V::load(x + n - kVector).store(y + n - kVector);
}

template <class V>
void copy_every_second(const float* x, float* y, std::ptrdiff_t n) {
  // The first n <= 8 elements from p on; nothing is read behind the last.
  const auto last = [=](std::ptrdiff_t p, int n) {
    const int reads = 2 * n - 1;
    const V low = V::load_n(x + 2 * p, reads < kVector ? reads : kVector);
    return even_lanes(low, reads > kVector ? V::load_n(x + 2 * p + kVector, reads - kVector) : V::zero());
  };
  if (n < kVector) return last(0, static_cast<int>(n)).store_n(y, static_cast<int>(n));
  for (std::ptrdiff_t p = 0; p < n - kVector; p += kVector) {
    even_lanes(V::load(x + 2 * p), V::load(x + 2 * p + kVector)).store(y + p);
  }
  last(n - kVector, kVector).store(y + n - kVector);
}

template <class V>
void copy_rows(const float* x, std::ptrdiff_t x_stride, std::ptrdiff_t step, float* y, std::ptrdiff_t y_stride,
               std::ptrdiff_t rows, std::ptrdiff_t n) {
  if (n == 0) return;  // a phase of padding alone
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
