// Elementwise functions of one and of two arrays.
#pragma once

#include "kernels/activation-inl.h"
#include "kernels/map-inl.h"
#include "kernels/math-inl.h"

namespace opq {

template <class V>
void unary(Unary function, const float* x, float* y, std::size_t n, float alpha, float beta) {
  const V a = V::set(alpha), b = V::set(beta), zero = V::zero(), one = V::set(1.0f);
  switch (function) {
    case Unary::kRelu:
      return map<V>(x, y, n, [=](V v) { return max(zero, v); });
    case Unary::kLeakyRelu:
      return map<V>(x, y, n, [=](V v) { return leaky(v, a); });
    case Unary::kSigmoid:
      return map<V>(x, y, n, [](V v) { return sigmoid(v); });
    case Unary::kHardSigmoid:  // min(1, max(0, alpha x + beta))
      return map<V>(x, y, n, [=](V v) { return clip(mul_add(a, v, b), zero, one); });
    case Unary::kHardSwish:  // x min(1, max(0, x / 6 + 1 / 2))
      return map<V>(x, y, n, [=](V v) { return v * clip(mul_add(V::set(1.0f / 6.0f), v, V::set(0.5f)), zero, one); });
    case Unary::kTanh:
      return map<V>(x, y, n, [](V v) { return tanh(v); });
    case Unary::kClip:
      return map<V>(x, y, n, [=](V v) { return clip(v, a, b); });
  }
}

template <class V, class F>
void binary_steps(const float* a, int a_step, const float* b, int b_step, float* y, std::size_t n, F f) {
  if (a_step && b_step) return map<V>(a, b, y, n, f);
  if (n == 0) return;
  const V a0 = V::set(*a), b0 = V::set(*b);
  if (a_step) return map<V>(a, y, n, [=](V v) { return f(v, b0); });
  if (b_step) return map<V>(b, y, n, [=](V v) { return f(a0, v); });
  float value[V::kLanes];
  f(a0, b0).store(value);
  for (std::size_t i = 0; i < n; ++i) y[i] = value[0];
}

template <class V>
void binary(Binary function, const float* a, int a_step, const float* b, int b_step, float* y, std::size_t n) {
  switch (function) {
    case Binary::kAdd:
      return binary_steps<V>(a, a_step, b, b_step, y, n, [](V u, V v) { return u + v; });
    case Binary::kSub:
      return binary_steps<V>(a, a_step, b, b_step, y, n, [](V u, V v) { return u - v; });
    case Binary::kMul:
      return binary_steps<V>(a, a_step, b, b_step, y, n, [](V u, V v) { return u * v; });
    case Binary::kDiv:
      return binary_steps<V>(a, a_step, b, b_step, y, n, [](V u, V v) { return u / v; });
  }
}

template <class V>
void add_activate(const float* a, const float* b, const Activation& activation, float* y, std::size_t n) {
  with_activation<V>(activation, [=](auto act) { map<V>(a, b, y, n, [=](V u, V v) { return act(u + v); }); });
}

}  // namespace opq
