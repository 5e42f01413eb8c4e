// One channel of a depthwise convolution, y[r][p] = finish(sum over t of weights[t] * x[offsets[t] + r * row_stride +
// p]).
//
// x is padded, and for strides above 1 split into one plane per phase, so that every tap is a contiguous row. A row is
// computed by groups of 4, 2 and 1 vectors: each group is one loop over the taps, with its sums in registers.
#pragma once

#include "kernels/finish-inl.h"
#include "kernels/kernels.h"
#include "kernels/unroll-inl.h"

namespace opq {

template <class V, class Act>
struct DepthwiseRow {
  const std::ptrdiff_t* offsets;
  const float* weights;
  std::ptrdiff_t taps;
  V scale, bias;
  Act act;

  // n pixels of one row, 8 * (vectors - 1) < n <= 8 * vectors.
  template <int... P>
  void run(Seq<P...> all, const float* x, const float* residual, float* y, int n) const {
    V sum[sizeof...(P)];
    ((sum[P] = V::zero()), ...);
    for (std::ptrdiff_t t = 0; t < taps; ++t) {
      const float* row = x + offsets[t];
      const V weight = V::set(weights[t]);
      ((sum[P] = mul_add(weight, V::load(row + kVector * P), sum[P])), ...);
    }
    store(all, sum, residual, y, n);
  }

  // The same of two rows, for those of few vectors: each sum waits for its multiply-add before.
  template <int... P>
  void run_two(Seq<P...> all, const float* x, std::ptrdiff_t row_stride, const float* residual, float* y, int n) const {
    V sum[sizeof...(P)], below[sizeof...(P)];
    ((sum[P] = below[P] = V::zero()), ...);
    for (std::ptrdiff_t t = 0; t < taps; ++t) {
      const float *row = x + offsets[t], *next = row + row_stride;
      const V weight = V::set(weights[t]);
      ((sum[P] = mul_add(weight, V::load(row + kVector * P), sum[P])), ...);
      ((below[P] = mul_add(weight, V::load(next + kVector * P), below[P])), ...);
    }
    store(all, sum, residual, y, n);
    store(all, below, residual ? residual + n : nullptr, y + n, n);
  }

  template <int... P>
  void store(Seq<P...>, const V (&sum)[sizeof...(P)], const float* residual, float* y, int n) const {
    (store_finished(finish(sum[P], scale, bias), act, residual ? residual + kVector * P : nullptr, y + kVector * P,
                    n - kVector * P),
     ...);
  }
};

template <class V>
void depthwise_plane(const float* x, const std::ptrdiff_t* offsets, const float* weights, std::ptrdiff_t taps,
                     std::ptrdiff_t row_stride, float scale, float bias, const float* residual,
                     const Activation& activation, float* y, std::ptrdiff_t height, std::ptrdiff_t width) {
  with_activation<V>(activation, [=](auto act) {
    const DepthwiseRow<V, decltype(act)> row = {offsets, weights, taps, V::set(scale), V::set(bias), act};
    std::ptrdiff_t r = 0;
    const int n = static_cast<int>(width);
    for (; width <= 2 * kVector && r + 1 < height; r += 2) {
      const float *in = x + r * row_stride, *add = residual ? residual + r * width : nullptr;
      if (width <= kVector) {
        row.run_two(SeqTo<1>(), in, row_stride, add, y + r * width, n);
      } else {
        row.run_two(SeqTo<2>(), in, row_stride, add, y + r * width, n);
      }
    }
    for (; r < height; ++r) {
      const float* in = x + r * row_stride;
      const float* add = residual ? residual + r * width : nullptr;
      float* out = y + r * width;
      for (std::ptrdiff_t p = 0; p < width;) {
        const std::ptrdiff_t rest = width - p;
        const int vectors = rest > 6 * kVector ? 7 : rest > 3 * kVector ? 4 : rest > kVector ? 2 : 1;
        const int n = rest < vectors * kVector ? static_cast<int>(rest) : vectors * kVector;
        const float* add_p = add ? add + p : nullptr;
        switch (vectors) {
          case 7:
            row.run(SeqTo<7>(), in + p, add_p, out + p, n);
            break;
          case 4:
            row.run(SeqTo<4>(), in + p, add_p, out + p, n);
            break;
          case 2:
            row.run(SeqTo<2>(), in + p, add_p, out + p, n);
            break;
          case 1:
            row.run(SeqTo<1>(), in + p, add_p, out + p, n);
            break;
        }
        p += n;
      }
    }
  });
}

}  // namespace opq
