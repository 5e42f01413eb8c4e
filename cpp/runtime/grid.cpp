#include "runtime/grid.h"

#include <algorithm>
#include <cmath>

namespace opq {
namespace {

constexpr float kHeadroom = 4.0f;  // of 16 bits, beyond a range that was chosen for 8

// Between the smallest number whose reciprocal is finite and the largest whose multiples by 65535 are.
float clamped_scale(float scale) { return std::clamp(scale, 0x1p-126f, 0x1p111f); }

}  // namespace

int Grid::quantize(float x) const {
  float q = std::rint(x * inverse());
  if (std::isnan(q)) q = 0.0f;
  return static_cast<int>(std::clamp(q, static_cast<float>(least - zero), static_cast<float>(most - zero))) + zero;
}

Grid grid_of(float lo, float hi, Precision precision) {
  if (precision == Precision::kInt16) {
    return {clamped_scale(kHeadroom * std::max(-lo, hi) / 32767.0f), 0, -32767, 32767};
  }
  const float scale = clamped_scale((hi - lo) / 255.0f);
  return {scale, static_cast<int>(std::clamp(std::rint(-lo / scale), 0.0f, 255.0f)), 0, 255};
}

Grid grid_of_values(float lo, float hi, Precision precision) {
  return lo < hi ? grid_of(lo, hi, precision) : grid_of(-1.0f, 1.0f, precision);
}

void quantize(const float* x, const Grid& grid, uint8_t* q, std::size_t n, const Kernels& kernels) {
  kernels.quantize_bytes(x, grid.inverse(), grid.zero, q, n);
}
void quantize(const float* x, const Grid& grid, int16_t* q, std::size_t n, const Kernels& kernels) {
  kernels.quantize_words(x, grid.inverse(), q, n);
}
void dequantize(const uint8_t* q, const Grid& grid, float* x, std::size_t n, const Kernels& kernels) {
  kernels.dequantize_bytes(q, grid.zero, grid.scale, x, n);
}
void dequantize(const int16_t* q, const Grid& grid, float* x, std::size_t n, const Kernels& kernels) {
  kernels.dequantize_words(q, grid.scale, x, n);
}

}  // namespace opq
