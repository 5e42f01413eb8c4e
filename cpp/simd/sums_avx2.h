// P16, S32, N16 and Q32 for AVX2; S16 is in bytes_256.h. sums_scalar.h and integers_scalar.h define what each operation
// means.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "simd/bytes_256.h"

namespace opq {
namespace {

using S16 = Bytes256;

// vpmaddubsw, of bytes that are neighbours already.
struct P16 {
  static constexpr int kBytes = 32;
  __m256i raw;

  using Codes = __m256i;
  static Codes broadcast(uint16_t codes) { return _mm256_set1_epi16(static_cast<int16_t>(codes)); }
  static P16 zero() { return {_mm256_setzero_si256()}; }
  P16 add_neighbours(const uint8_t* x, Codes codes) const {
    return {_mm256_add_epi16(raw, _mm256_maddubs_epi16(S16::bytes(x), codes))};
  }
};

inline S16 interleaved(P16 even, P16 odd) {
  return {_mm256_unpacklo_epi16(even.raw, odd.raw), _mm256_unpackhi_epi16(even.raw, odd.raw)};
}
inline S16 joined(P16 first, P16 second) {
  return {_mm256_permute2x128_si256(first.raw, second.raw, 0x20),
          _mm256_permute2x128_si256(first.raw, second.raw, 0x31)};
}

// vpmaddwd multiplies neighbouring words and adds the two products; interleaving leaves the pixels in two registers:
//
//   low    0..3  8..11        high   4..7  12..15
struct S32 {
  static constexpr int kPixels = 16;
  __m256i low, high;

  static S32 zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }

  S32 add_products(const int16_t* a, const int16_t* b, uint16_t codes) const {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a));
    const __m256i y = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b));
    const auto code0 = static_cast<uint16_t>(static_cast<int8_t>(codes & 0xff));
    const auto code1 = static_cast<uint16_t>(static_cast<int8_t>(codes >> 8));
    const __m256i c = _mm256_set1_epi32(static_cast<int32_t>(code0 | uint32_t{code1} << 16));
    return {_mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(x, y), c)),
            _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(x, y), c))};
  }

  void store(float* sums) const {
    _mm256_storeu_ps(sums, _mm256_cvtepi32_ps(_mm256_permute2x128_si256(low, high, 0x20)));
    _mm256_storeu_ps(sums + 8, _mm256_cvtepi32_ps(_mm256_permute2x128_si256(low, high, 0x31)));
  }
  void store(double* sums) const {
    each([=](__m128i four, int at) { _mm256_storeu_pd(sums + at, _mm256_cvtepi32_pd(four)); });
  }
  void add_to(double* sums) const {
    each([=](__m128i four, int at) {
      _mm256_storeu_pd(sums + at, _mm256_add_pd(_mm256_loadu_pd(sums + at), _mm256_cvtepi32_pd(four)));
    });
  }

 private:
  template <class F>
  void each(F f) const {
    f(_mm256_castsi256_si128(low), 0);
    f(_mm256_castsi256_si128(high), 4);
    f(_mm256_extracti128_si256(low, 1), 8);
    f(_mm256_extracti128_si256(high, 1), 12);
  }
};

// [half of the line][half of the byte], each low and high as in S16.
struct N16 {
  static constexpr int kRows = 128;
  S16 sum[2][2];

  static N16 zero() { return {{{S16::zero(), S16::zero()}, {S16::zero(), S16::zero()}}}; }

  N16 add_columns(const uint8_t* a, const uint8_t* b, uint16_t x) const {
    const __m256i by = _mm256_set1_epi16(static_cast<int16_t>(x)), mask = _mm256_set1_epi8(15);
    N16 v;
    for (int half = 0; half < 2; ++half) {
      const __m256i c = S16::bytes(a + 32 * half), d = S16::bytes(b + 32 * half);
      v.sum[half][0] = add(sum[half][0], _mm256_and_si256(c, mask), _mm256_and_si256(d, mask), by);
      v.sum[half][1] = add(sum[half][1], _mm256_and_si256(_mm256_srli_epi16(c, 4), mask),
                           _mm256_and_si256(_mm256_srli_epi16(d, 4), mask), by);
    }
    return v;
  }
  void add_to(int32_t* sums) const {
    for (int half = 0; half < 2; ++half) {
      sum[half][0].add_to(sums + 32 * half);
      sum[half][1].add_to(sums + 64 + 32 * half);
    }
  }

 private:
  static S16 add(S16 v, __m256i c, __m256i d, __m256i by) {
    return {_mm256_add_epi16(v.low, _mm256_maddubs_epi16(by, _mm256_unpacklo_epi8(c, d))),
            _mm256_add_epi16(v.high, _mm256_maddubs_epi16(by, _mm256_unpackhi_epi8(c, d)))};
  }
};

// vpmaddubsw adds two products in 16 bits, vpmaddwd two such sums in 32.
struct Q32 {
  static constexpr bool kHasDotProducts = false;
  static constexpr int kPixels = 8;
  static constexpr int kAtOnce = 2;
  __m256i raw;

  static Q32 zero() { return {_mm256_setzero_si256()}; }
  static Q32 load(const int32_t* sums) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums))}; }
  void store(int32_t* sums) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), raw); }
  static __m256i products(const uint8_t* x, const int8_t* codes) {
    int32_t four;
    __builtin_memcpy(&four, codes, sizeof four);
    return _mm256_maddubs_epi16(S16::bytes(x), _mm256_set1_epi32(four));
  }
  Q32 add_quads(const uint8_t* x, const int8_t* codes) const { return add({products(x, codes)}); }

  struct Short {
    static constexpr int kPixels = 8;
    __m256i raw;

    static Short of_quads(const uint8_t* x, const int8_t* codes) { return {products(x, codes)}; }
    Short add_quads(const uint8_t* x, const int8_t* codes) const { return {_mm256_add_epi16(raw, products(x, codes))}; }
  };
  Q32 add(Short sums) const { return {_mm256_add_epi32(raw, _mm256_madd_epi16(sums.raw, _mm256_set1_epi16(1)))}; }

  static void interleave(const uint8_t* const* rows, std::ptrdiff_t at, uint8_t* y) {
    const auto row = [=](int j) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[j] + at)); };
    const __m128i a = row(0), b = row(1), c = row(2), d = row(3);
    const __m128i ab[2] = {_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)};
    const __m128i cd[2] = {_mm_unpacklo_epi8(c, d), _mm_unpackhi_epi8(c, d)};
    auto* out = reinterpret_cast<__m128i*>(y);
    for (int i = 0; i < 2; ++i) {
      _mm_storeu_si128(out + 2 * i, _mm_unpacklo_epi16(ab[i], cd[i]));
      _mm_storeu_si128(out + 2 * i + 1, _mm_unpackhi_epi16(ab[i], cd[i]));
    }
  }
};

}  // namespace
}  // namespace opq
