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

// Sums are int32_t, with the zero counted, or float64 (words have their zero at 0).
inline void to_floats(const int32_t* sums, const Grid& grid, const CodeSums& codes, float* y, int n,
                      const Kernels& kernels) {
  kernels.sums_to_floats(sums, static_cast<int32_t>(grid.zero * (codes.positive - codes.negative)), y, n);
}
inline void to_floats(const double* sums, const Grid&, const CodeSums&, float* y, int n, const Kernels& kernels) {
  kernels.doubles_to_floats(sums, y, n);
}

// What comes of activations of a type.
template <typename T>
struct Held;
template <>
struct Held<uint8_t> {
  using Sum = int32_t;
  using Output = ByteOutput;
};
template <>
struct Held<int16_t> {
  using Sum = double;
  using Output = WordOutput;
};

// Whether the kernels that multiply can finish as well: to integers, without values that are float32.
template <typename T>
bool finishes_to_integers(const IntegerEpilogue& e) {
  if (sizeof(T) == 1) return e.rules != nullptr;
  return e.y_grid && (!e.residual || e.residual_grid);
}

// Their output, of one pixel of channel m, `offset` elements into y and residual; the input is held on the grid x.
template <typename T>
typename Held<T>::Output integer_output(const IntegerEpilogue& e, int64_t m, int64_t offset, const Grid& x) {
  const T* residual = e.residual ? reinterpret_cast<const T*>(e.residual) + offset : nullptr;
  T* y = reinterpret_cast<T*>(e.y) + offset;
  if constexpr (sizeof(T) == 1) {
    return {.rules = e.rules + m,
            .residual = residual,
            .residual_zero = residual ? e.residual_grid->zero : 0,
            .stride = 0,
            .least = e.least,
            .most = e.most,
            .y = y,
            .n = 1};
  } else {
    return {.scale = e.scale ? e.scale + m : nullptr,
            .x_scale = x.scale,
            .bias = e.bias ? e.bias + m : nullptr,
            .residual = residual,
            .residual_scale = residual ? e.residual_grid->scale : 0.0f,
            .act = &e.act,
            .y_inverse = e.y_grid->inverse(),
            .stride = 0,
            .y = y,
            .n = 1};
  }
}

}  // namespace opq
