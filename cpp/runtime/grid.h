// Activations held as integers: value = scale * (q - zero), q in least..most. See docs/integers.md and
// src/opq/reference/integer/quantized.py, which defines the arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/kernels.h"

namespace opq {

// What a session holds activations in: float32, int16_t or uint8_t.
enum class Precision : uint8_t { kFloat32, kInt16, kInt8 };

inline constexpr const char* name_of(Precision precision) {
  return precision == Precision::kInt8 ? "int8" : precision == Precision::kInt16 ? "int16" : "float32";
}

// Bytes of an activation that is held.
inline constexpr std::size_t element_size(Precision precision) {
  return precision == Precision::kInt8 ? 1 : precision == Precision::kInt16 ? 2 : 4;
}

// Calls body(tag), tag::type being what a session of integer precision holds activations in.
template <typename Body>
auto with_held_type(Precision precision, const Body& body) {
  return precision == Precision::kInt8 ? body(std::type_identity<uint8_t>{}) : body(std::type_identity<int16_t>{});
}

struct Grid {
  float scale = 1;
  int zero = 0;
  int least = 0, most = 255;

  float inverse() const { return 1.0f / scale; }
  // The nearest q, ties to even; zero for NaN.
  int quantize(float x) const;
  bool operator==(const Grid&) const = default;
};

// Of a range lo <= 0 <= hi, lo < hi.
Grid grid_of(float lo, float hi, Precision precision);

// Of the least and the largest of some values and 0: that of (-1, 1) where all of them are 0.
Grid grid_of_values(float lo, float hi, Precision precision);

// A grid of 8 bits has its zero within 0..255, one of 16 bits at 0: this tells which of the two holds.
void quantize(const float* x, const Grid& grid, uint8_t* q, std::size_t n, const Kernels& kernels);
void quantize(const float* x, const Grid& grid, int16_t* q, std::size_t n, const Kernels& kernels);
void dequantize(const uint8_t* q, const Grid& grid, float* x, std::size_t n, const Kernels& kernels);
void dequantize(const int16_t* q, const Grid& grid, float* x, std::size_t n, const Kernels& kernels);

}  // namespace opq
