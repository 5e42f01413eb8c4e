// F32: 8 float lanes in one AVX2 register. vec_scalar.h defines what each operation means.
//
// Included by one .cpp file, compiled with -mavx2 -mfma. Everything has internal linkage, so that the linker can never
// choose one of these functions for a machine without AVX2.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace opq {
namespace {

// kLaneMask + 8 - n selects the first n lanes.
alignas(32) constexpr int32_t kLaneMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

struct F32 {
  static constexpr int kLanes = 8;
  static constexpr int kDenseVectors = 4;  // 3 x 4 sums + 3 weights + 1 input are the 16 registers
  __m256 raw;

  static F32 zero() { return {_mm256_setzero_ps()}; }
  static F32 set(float x) { return {_mm256_set1_ps(x)}; }
  static F32 load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static F32 load_n(const float* p, int n) { return load(p, first(n)); }
  using Lanes = __m256i;
  static Lanes lanes(int from, int to) { return _mm256_andnot_si256(first(from), first(to)); }
  static F32 load(const float* p, Lanes of) { return {_mm256_maskload_ps(p, of)}; }
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
  // Not vmaskmovps: as a store it takes some 20 micro-operations on AMD's cores.
  void store_n(float* p, int n) const {
    if (n >= kLanes) return store(p);
    __m128 half = _mm256_castps256_ps128(raw);
    if (n & 4) {
      _mm_storeu_ps(p, half);
      half = _mm256_extractf128_ps(raw, 1);
      p += 4;
    }
    if (n & 2) {
      _mm_storel_pi(reinterpret_cast<__m64*>(p), half);
      half = _mm_movehl_ps(half, half);
      p += 2;
    }
    if (n & 1) _mm_store_ss(p, half);
  }

 private:
  __m128i to_words() const {
    const __m256i words = _mm256_cvtps_epi32(raw);
    return _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  }
  static Lanes first(int n) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLaneMask + kLanes - n)); }
};

#include "simd/vec_256-inl.h"

}  // namespace
}  // namespace opq
