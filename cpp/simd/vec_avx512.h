// F32: 8 float lanes in one 256-bit register, for AVX-512 with its VL extension. vec_scalar.h defines what each
// operation means.
//
// 256 bits, since what AVX-512 brings to these kernels is not width: 32 registers instead of 16, and masks for the ends
// of rows. A sparse row is one chain of multiply-adds per output, so a tile of 56 pixels in four 512-bit registers
// would wait for the four cycles that each link takes, and seven 256-bit registers take as long.
//
// Included by one .cpp file, compiled for AVX-512. Everything has internal linkage, so that the linker can never choose
// one of these functions for a machine without it.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace opq {
namespace {

struct F32 {
  static constexpr int kLanes = 8;
  static constexpr int kDenseVectors = 7;  // 3 x 7 sums + 3 weights + 1 input of 32 registers
  __m256 raw;

  static F32 zero() { return {_mm256_setzero_ps()}; }
  static F32 set(float x) { return {_mm256_set1_ps(x)}; }
  static F32 load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static F32 load_n(const float* p, int n) { return load(p, first(n)); }
  using Lanes = __mmask8;
  static Lanes lanes(int from, int to) { return static_cast<Lanes>(first(to) & ~first(from)); }
  static F32 load(const float* p, Lanes of) { return {_mm256_maskz_loadu_ps(of, p)}; }
  static F32 load_i8(const int8_t* p) {
    const __m128i codes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes))};
  }
  static F32 load_u8(const uint8_t* p) {
    return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
  }
  static F32 load_i16(const int16_t* p) {
    return {_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
  }
  void store_u8(uint8_t* p) const {
    const __m128i words = to_words();
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
  }
  void store_i16(int16_t* p) const { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), to_words()); }
  void store(float* p) const { _mm256_storeu_ps(p, raw); }
  void store_n(float* p, int n) const { _mm256_mask_storeu_ps(p, first(n), raw); }

 private:
  __m128i to_words() const {
    const __m256i words = _mm256_cvtps_epi32(raw);
    return _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  }
  static Lanes first(int n) { return static_cast<Lanes>((1 << n) - 1); }  // the first n lanes
};

#include "simd/vec_256-inl.h"

}  // namespace
}  // namespace opq
