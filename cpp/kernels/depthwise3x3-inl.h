// One channel of a depthwise convolution with 3 x 3 taps and a stride of 1 or 2, from the image as it lies:
//
//   y[r][p] = finish(sum over ky, kx of weights[ky][kx] * x[stride * r + ky - pad_top][stride * p + kx - pad_left])
//
// Eight columns of the output go down the image together. A row of inputs is read once, three vectors for kx = 0, 1, 2,
// and serves the three output rows (two with stride 2) that it is a tap of, each of which takes it in its turn:
//
//   stride 1    x row 0    y0                    stride 2    x row 0    y0
//               x row 1    y0 y1                             x row 1    y0
//               x row 2    y0 y1 y2                          x row 2    y0 y1
//               x row 3       y1 y2 y3                       x row 3       y1
//
// What lies outside of the image is 0: whole rows, and at its sides lanes that a masked load leaves out. The last eight
// columns overlap the ones before them where the width is no multiple of eight.
#pragma once

#include "kernels/finish-inl.h"
#include "kernels/kernels.h"

namespace opq {

template <class V>
struct ThreeVectors {
  V at[3];
};

// The three vectors of a row for output columns from p on.
template <class V, int stride, bool is_inside>
struct DepthwiseColumns {
  static constexpr int kLoads = stride == 1 ? 3 : 4;
  std::ptrdiff_t first;  // input column
  typename V::Lanes lanes[kLoads];

  DepthwiseColumns(const DepthwiseImage& image, std::ptrdiff_t p) : first(stride * p - image.pad_left) {
    for (int i = 0; i < kLoads; ++i) {
      const std::ptrdiff_t before = -start_of(i), in_image = image.width - start_of(i);
      const int from = clamped(before, 0), to = clamped(in_image, from);
      lanes[i] = V::lanes(from, to);
    }
  }

  ThreeVectors<V> operator()(const float* row) const {
    const V a = load(row, 0), b = load(row, 1), c = load(row, 2);
    if constexpr (stride == 1) {
      return {{a, b, c}};
    } else {
      return {{even_lanes(a, b), odd_lanes(a, b), even_lanes(c, load(row, 3))}};
    }
  }

 private:
  // stride 1: 0, 1, 2; stride 2: 0 and 8, of whose lanes are kx = 0 and 1, and 2 and 10, for kx = 2.
  std::ptrdiff_t start_of(int i) const { return first + (stride == 1 ? i : 8 * (i % 2) + 2 * (i / 2)); }
  static int clamped(std::ptrdiff_t n, int least) {
    return n < least ? least : n > V::kLanes ? V::kLanes : static_cast<int>(n);
  }
  V load(const float* row, int i) const {
    if constexpr (is_inside) return V::load(row + start_of(i));
    return V::load(row + start_of(i), lanes[i]);
  }
};

// The weights, in registers: of a copy nothing else is written.
template <class V>
struct Weights3x3 {
  V at[3][3];

  explicit Weights3x3(const float* weights) {
    for (int t = 0; t < 9; ++t) at[t / 3][t % 3] = V::set(weights[t]);
  }
  V add(V sum, const ThreeVectors<V>& x, int ky) const {
    return mul_add(at[ky][2], x.at[2], mul_add(at[ky][1], x.at[1], mul_add(at[ky][0], x.at[0], sum)));
  }
};

template <class V, int stride, class Act>
struct Depthwise3x3 {
  DepthwiseImage image;
  const float* weights;
  const float* residual;  // or null
  float* y;
  std::ptrdiff_t height, width;  // of y
  V scale, bias;
  Act act;

  // Output rows [first, last), columns [p, p + n).
  template <bool is_inside>
  void run(std::ptrdiff_t first, std::ptrdiff_t last, std::ptrdiff_t p, int n) const {
    const DepthwiseColumns<V, stride, is_inside> columns(image, p);
    const Weights3x3<V> w(weights);
    const auto row = [&](std::ptrdiff_t i) {
      i -= image.pad_top;
      if (i >= 0 && i < image.height) return columns(image.x + i * image.width);
      return ThreeVectors<V>{{V::zero(), V::zero(), V::zero()}};
    };
    V next = w.add(V::zero(), row(stride * first), 0), sum = next;
    if constexpr (stride == 1) {
      const ThreeVectors<V> x = row(first + 1);
      sum = w.add(next, x, 1);
      next = w.add(V::zero(), x, 0);
    }
    // Ends output row r, whose last two input rows (with stride 1 only the last) are these.
    const auto step = [&](const ThreeVectors<V>& before, const ThreeVectors<V>& x) {
      if constexpr (stride == 2) sum = w.add(next, before, 1);
      const V done = finish(w.add(sum, x, 2), scale, bias);
      if constexpr (stride == 1) sum = w.add(next, x, 1);
      next = w.add(V::zero(), x, 0);
      return done;
    };
    const std::ptrdiff_t inner = inner_rows(last, p);
    for (std::ptrdiff_t r = first; r < last; ++r) {
      float* to = y + r * width + p;
      if (r < inner && stride * r + 1 >= image.pad_top) {
        const float* x = image.x + (stride * r + 2 - image.pad_top) * image.width;
        for (; r < inner; ++r, x += stride * image.width, to += width) {
          act(step(columns(x - image.width), columns(x))).store(to);
        }
        if (r == last) break;
      }
      const V done = step(row(stride * r + 1), row(stride * r + 2));
      store_finished(done, act, residual ? residual + (to - y) : nullptr, to, n);
    }
  }

  // Up to which row the last input row is inside, and the output may be written by whole vectors: with less than
  // eight columns, what is behind them in the image is written after them.
  std::ptrdiff_t inner_rows(std::ptrdiff_t last, std::ptrdiff_t p) const {
    if (residual || image.height + image.pad_top < 3 || height * width < p + V::kLanes) return 0;
    const std::ptrdiff_t reads = (image.height - 3 + image.pad_top) / stride + 1;
    const std::ptrdiff_t writes = (height * width - p - V::kLanes) / width + 1;
    const std::ptrdiff_t both = reads < writes ? reads : writes;
    return both < last ? both : last;
  }

  void run_all() const {
    constexpr std::ptrdiff_t kRowsAtOnce = 16;  // what the columns beside each other share is still in the L1 cache
    for (std::ptrdiff_t first = 0; first < height; first += kRowsAtOnce) {
      const std::ptrdiff_t last = first + kRowsAtOnce < height ? first + kRowsAtOnce : height;
      if (width < V::kLanes) {
        run<false>(first, last, 0, static_cast<int>(width));
        continue;
      }
      for (std::ptrdiff_t p = 0; p < width; p += V::kLanes) {
        if (p + V::kLanes > width) p = width - V::kLanes;
        const std::ptrdiff_t column = stride * p - image.pad_left;
        if (column >= 0 && column + stride * V::kLanes + 2 <= image.width) {
          run<true>(first, last, p, V::kLanes);
        } else {
          run<false>(first, last, p, V::kLanes);
        }
      }
    }
  }
};

template <class V>
void depthwise_3x3(const DepthwiseImage& image, const float* weights, float scale, float bias, const float* residual,
                   const Activation& activation, float* y, std::ptrdiff_t height, std::ptrdiff_t width) {
  with_activation<V>(activation, [=, &image](auto act) {
    const V scale_v = V::set(scale), bias_v = V::set(bias);
    if (image.stride == 1) {
      Depthwise3x3<V, 1, decltype(act)>{image, weights, residual, y, height, width, scale_v, bias_v, act}.run_all();
    } else {
      Depthwise3x3<V, 2, decltype(act)>{image, weights, residual, y, height, width, scale_v, bias_v, act}.run_all();
    }
  });
}

}  // namespace opq
