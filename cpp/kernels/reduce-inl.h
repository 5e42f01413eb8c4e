// Sums over contiguous elements, and what is made of them. The order is fixed: lane j of 8 partial sums adds
// x[j], x[j + 8], ..., then sum_of_lanes adds the 8.
#pragma once

#include "kernels/map-inl.h"
#include "kernels/math-inl.h"

namespace opq {

template <class V>
float sum(const float* x, std::size_t n) {
  V total = V::zero();
  std::size_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) total = total + V::load(x + i);
  return sum_of_lanes(total + V::load_n(x + i, static_cast<int>(n - i)));
}

template <class V>
void softmax(const float* x, float* y, std::size_t n) {
  if (n == 0) return;
  float largest = x[0];  // a NaN may get lost here, but its exponential makes the sum NaN
  for (std::size_t i = 1; i < n; ++i) largest = largest > x[i] ? largest : x[i];
  map<V>(x, y, n, [=](V v) { return exp(v - V::set(largest)); });
  const V total = V::set(sum<V>(y, n));
  map<V>(y, y, n, [=](V v) { return v / total; });
}

// Local response normalization, y = x / (bias + alpha s)^beta with the sum s of squares over neighbouring channels.
// (.)^0.75, the value of AlexNet and GoogLeNet, is the product of two roots; error at most 3.8 ulp, division included.
template <class V>
void lrn(const float* x, const float* const* rows, int count, float* y, std::size_t n, float alpha, float beta,
         float bias) {
  const V a = V::set(alpha), b = V::set(bias);
  const auto divisor_at = [=](auto load, auto power) {
    V total = V::zero();
    for (int c = 0; c < count; ++c) {
      const V v = load(rows[c]);
      total = mul_add(v, v, total);
    }
    return power(mul_add(a, total, b));
  };
  const auto run = [=](auto power) {
    std::size_t i = 0;
    for (; i + V::kLanes <= n; i += V::kLanes) {
      const auto load = [=](const float* row) { return V::load(row + i); };
      (load(x) / divisor_at(load, power)).store(y + i);
    }
    const int rest = static_cast<int>(n - i);
    const auto load = [=](const float* row) { return V::load_n(row + i, rest); };
    if (rest > 0) (load(x) / divisor_at(load, power)).store_n(y + i, rest);
  };
  if (beta != 0.75f) return run([=](V v) { return pow(v, beta); });
  run([](V v) {
    const V root = sqrt(v);
    return root * sqrt(root);
  });
}

}  // namespace opq
