// What AVX2 and AVX-512 share for integers: C32, 8 rows in a 256-bit register, and copy_even. sums_scalar.h defines
// what each operation means.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace opq {
namespace {

struct C32 {
  static constexpr int kRows = 8;
  __m256i raw;

  static C32 zero() { return {_mm256_setzero_si256()}; }
  C32 add_columns(const int8_t* a, const int8_t* b, const int16_t* x) const {
    const __m128i x0 = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(a));
    const __m128i x1 = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(b));
    int32_t two;
    __builtin_memcpy(&two, x, sizeof two);
    const __m256i codes = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(x0, x1));
    return {_mm256_add_epi32(raw, _mm256_madd_epi16(codes, _mm256_set1_epi32(two)))};
  }
  void store(int32_t* sums) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), raw); }

  // y[i] = x[2 * i] for i in [0, 16); x may be read one element further.
  static void copy_even(const uint8_t* x, uint8_t* y) {
    const auto* p = reinterpret_cast<const __m128i*>(x);
    const __m128i mask = _mm_set1_epi16(0xff);
    const __m128i a = _mm_and_si128(_mm_loadu_si128(p), mask), b = _mm_and_si128(_mm_loadu_si128(p + 1), mask);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), _mm_packus_epi16(a, b));
  }
  static void copy_even(const int16_t* x, int16_t* y) {
    const auto* p = reinterpret_cast<const __m128i*>(x);
    const __m128i mask = _mm_set1_epi32(0xffff);
    for (int i = 0; i < 2; ++i) {
      const __m128i a = _mm_and_si128(_mm_loadu_si128(p + 2 * i), mask);
      const __m128i b = _mm_and_si128(_mm_loadu_si128(p + 2 * i + 1), mask);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(y) + i, _mm_packus_epi32(a, b));
    }
  }
};

}  // namespace
}  // namespace opq
