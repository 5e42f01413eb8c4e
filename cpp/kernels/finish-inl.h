// What happens to a finished sum: y = act(fma(scale, sum, bias) + residual).
//
// A sum of exactly zero has the sign + or -, depending on whether zero weights or zero inputs were skipped. Adding +0
// to the bias makes it the same result: scale * (+-0) + bias is then bias, whatever the sign.
#pragma once

#include "kernels/activation-inl.h"
#include "kernels/kernels.h"

namespace opq {

template <class V>
V finish(V sum, V scale, V bias) {
  return mul_add(scale, sum, bias + V::zero());
}

// One vector of output pixels; the last one of a row may be used in part.
template <class V, class Act>
inline void store_finished(V v, const Act& act, const float* residual, float* y) {
  if (residual) v = v + V::load(residual);
  act(v).store(y);
}
template <class V, class Act>
inline void store_finished(V v, const Act& act, const float* residual, float* y, int n) {
  if (n >= V::kLanes) return store_finished(v, act, residual, y);
  if (residual) v = v + V::load_n(residual, n);
  act(v).store_n(y, n);
}

template <class V>
void finish_rows(const float* acc, int rows, const RowOutput& output) {
  with_activation<V>(*output.act, [&](auto act) {
    for (int m = 0; m < rows; ++m) {
      const V scale = V::set(output.scale ? output.scale[m] : 1.0f), bias = V::set(output.bias ? output.bias[m] : 0.0f);
      const float* sum = acc + m * kTile;
      const float* residual = output.residual ? output.residual + m * output.stride : nullptr;
      float* y = output.y + m * output.stride;
      for (int p = 0; p < output.n; p += kVector) {
        store_finished(finish(V::load(sum + p), scale, bias), act, residual ? residual + p : nullptr, y + p,
                       output.n - p);
      }
    }
  });
}

template <class V>
void finish_columns(const float* acc, const float* scale, const float* bias, const float* residual,
                    const Activation& activation, float* y, int n) {
  with_activation<V>(activation, [=](auto act) {
    for (int m = 0; m < n; m += V::kLanes) {
      const int lanes = n - m < V::kLanes ? n - m : V::kLanes;
      const V scale_m = scale ? V::load_n(scale + m, lanes) : V::set(1.0f);
      const V bias_m = bias ? V::load_n(bias + m, lanes) : V::zero();
      V v = finish(V::load_n(acc + m, lanes), scale_m, bias_m);
      if (residual) v = v + V::load_n(residual + m, lanes);
      act(v).store_n(y + m, lanes);
    }
  });
}

}  // namespace opq
