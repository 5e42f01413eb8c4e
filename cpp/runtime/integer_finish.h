// From the sums of some neighbouring pixels of one channel to the output: what the integer layers share. T is uint8_t
// or int16_t, what activations are held in.
#pragma once

#include "runtime/integer_layer.h"

namespace opq {

// y[p] = act(fma(sums[p], scale * scale_x, bias) + residual[p]) for p in [0, n), n <= kByteTile. sums may be read up to
// 7 floats further. residual and y are of the types that the epilogue says, at the first pixel.
template <typename T>
void finish_floats(const IntegerEpilogue& e, int64_t m, float scale_x, const float* sums, const std::byte* residual,
                   std::byte* y, int n, const Kernels& kernels) {
  const float scale = (e.scale ? e.scale[m] : 1.0f) * scale_x;
  alignas(64) float values[kByteTile], added[kByteTile];
  const float* r = reinterpret_cast<const float*>(residual);
  if (residual && e.residual_grid) {
    dequantize(reinterpret_cast<const T*>(residual), *e.residual_grid, added, static_cast<std::size_t>(n), kernels);
    r = added;
  }
  float* out = e.y_grid ? values : reinterpret_cast<float*>(y);
  const RowOutput output = {.scale = &scale,
                            .bias = e.bias ? e.bias + m : nullptr,
                            .residual = residual ? r : nullptr,
                            .stride = 0,
                            .act = &e.act,
                            .y = out,
                            .n = n};
  kernels.finish_rows(sums, 1, output);
  if (e.y_grid) quantize(values, *e.y_grid, reinterpret_cast<T*>(y), static_cast<std::size_t>(n), kernels);
}

// Bytes of one element of the output, and of the residual.
template <typename T>
std::size_t y_size(const IntegerEpilogue& e) {
  return e.y_grid ? sizeof(T) : sizeof(float);
}
template <typename T>
std::size_t residual_size(const IntegerEpilogue& e) {
  return e.residual_grid ? sizeof(T) : sizeof(float);
}

// What a kind of activations has: sums in int32_t with the zero counted, or in float64 (words have their zero at 0).
inline void to_floats(const int32_t* sums, const Grid& grid, const CodeSums& codes, float* y, int n,
                      const Kernels& kernels) {
  kernels.sums_to_floats(sums, static_cast<int32_t>(grid.zero * (codes.positive - codes.negative)), y, n);
}
inline void to_floats(const double* sums, const Grid&, const CodeSums&, float* y, int n, const Kernels& kernels) {
  kernels.doubles_to_floats(sums, y, n);
}

template <typename T>
struct SumOf;
template <>
struct SumOf<uint8_t> {
  using type = int32_t;
};
template <>
struct SumOf<int16_t> {
  using type = double;
};

}  // namespace opq
