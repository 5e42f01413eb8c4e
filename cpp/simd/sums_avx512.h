// S16, P16, S32, N16 and Q32 for AVX-512 (BW): a tile's 64 pixels in two 512-bit registers. sums_scalar.h defines what
// each operation means.
//
// Interleaving works within lanes of 128 bits, as in sums_avx2.h:
//
//   low    0..7  16..23  32..39  48..55        high   8..15  24..31  40..47  56..63
//
// vpackuswb restores the order.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "simd/bytes_256.h"

namespace opq {
namespace {

struct S16 {
  using Half = Bytes256;
  using OfSums = S16;
  static constexpr int kPixels = 64;
  __m512i low, high;

  static S16 zero() { return {_mm512_setzero_si512(), _mm512_setzero_si512()}; }

  S16 add_products(const uint8_t* a, const uint8_t* b, uint16_t codes) const {
    const __m512i x = _mm512_loadu_si512(a), y = _mm512_loadu_si512(b),
                  c = _mm512_set1_epi16(static_cast<int16_t>(codes));
    return {_mm512_add_epi16(low, _mm512_maddubs_epi16(_mm512_unpacklo_epi8(x, y), c)),
            _mm512_add_epi16(high, _mm512_maddubs_epi16(_mm512_unpackhi_epi8(x, y), c))};
  }

  void store(int32_t* sums) const {
    each([=](__m256i eight, int at) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + at), eight); });
  }
  void add_to(int32_t* sums) const {
    each([=](__m256i eight, int at) {
      auto* p = reinterpret_cast<__m256i*>(sums + at);
      _mm256_storeu_si256(p, _mm256_add_epi32(_mm256_loadu_si256(p), eight));
    });
  }

  static S16 load(const int32_t* sums, int shift) {
    const auto sixteen = [=](int at) {
      __m512i v = _mm512_loadu_si512(sums + at);
      if (shift > 0) {  // no sum is beyond 2^30: for shift 31, 2^30 is added
        v = _mm512_sra_epi32(_mm512_add_epi32(v, _mm512_set1_epi32(1 << (shift - 1))), _mm_cvtsi32_si128(shift));
      }
      return _mm512_cvtsepi32_epi16(v);
    };
    const __m512i a = _mm512_inserti64x4(_mm512_castsi256_si512(sixteen(0)), sixteen(16), 1);
    const __m512i b = _mm512_inserti64x4(_mm512_castsi256_si512(sixteen(32)), sixteen(48), 1);
    S16 v = {_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xdd)};
    for (; shift < 0; ++shift) v = {_mm512_adds_epi16(v.low, v.low), _mm512_adds_epi16(v.high, v.high)};
    return v;
  }

  static S16 of_halves(const S16& high, const S16& low, int shift) {
    const __m512i half = _mm512_set1_epi32(shift > 0 ? 1 << (shift - 1) : 0), by = _mm512_set1_epi32(16 | 1 << 16);
    const __m128i count = _mm_cvtsi32_si128(shift);
    const auto join = [=](__m512i h, __m512i l) {
      const __m512i first = _mm512_madd_epi16(_mm512_unpacklo_epi16(h, l), by);
      const __m512i second = _mm512_madd_epi16(_mm512_unpackhi_epi16(h, l), by);
      return _mm512_packs_epi32(_mm512_sra_epi32(_mm512_add_epi32(first, half), count),
                                _mm512_sra_epi32(_mm512_add_epi32(second, half), count));
    };
    return {join(high.low, low.low), join(high.high, low.high)};
  }

  static S16 centred(const uint8_t* r, int zero) {
    const __m512i x = _mm512_loadu_si512(r), none = _mm512_setzero_si512();
    const __m512i z = _mm512_set1_epi16(static_cast<int16_t>(zero));
    return {_mm512_slli_epi16(_mm512_sub_epi16(_mm512_unpacklo_epi8(x, none), z), 7),
            _mm512_slli_epi16(_mm512_sub_epi16(_mm512_unpackhi_epi8(x, none), z), 7)};
  }

  void store_clamped(uint8_t least, uint8_t most, uint8_t* y, int n) const {
    __m512i v = _mm512_packus_epi16(low, high);
    v = _mm512_max_epu8(v, _mm512_set1_epi8(static_cast<char>(least)));
    v = _mm512_min_epu8(v, _mm512_set1_epi8(static_cast<char>(most)));
    if (n >= kPixels) return _mm512_storeu_si512(y, v);
    _mm512_mask_storeu_epi8(y, (uint64_t{1} << n) - 1, v);
  }

 private:
  // Eight sums each, widened, and the first one's pixel.
  template <class F>
  void each(F f) const {
    f(_mm256_cvtepi16_epi32(_mm512_castsi512_si128(low)), 0);
    f(_mm256_cvtepi16_epi32(_mm512_castsi512_si128(high)), 8);
    f(_mm256_cvtepi16_epi32(_mm512_extracti32x4_epi32(low, 1)), 16);
    f(_mm256_cvtepi16_epi32(_mm512_extracti32x4_epi32(high, 1)), 24);
    f(_mm256_cvtepi16_epi32(_mm512_extracti32x4_epi32(low, 2)), 32);
    f(_mm256_cvtepi16_epi32(_mm512_extracti32x4_epi32(high, 2)), 40);
    f(_mm256_cvtepi16_epi32(_mm512_extracti32x4_epi32(low, 3)), 48);
    f(_mm256_cvtepi16_epi32(_mm512_extracti32x4_epi32(high, 3)), 56);
  }
};

inline S16 high_product(S16 a, int16_t m) {
  const __m512i by = _mm512_set1_epi16(m);
  return {_mm512_mulhrs_epi16(a.low, by), _mm512_mulhrs_epi16(a.high, by)};
}
inline S16 saturating_add(S16 a, S16 b) { return {_mm512_adds_epi16(a.low, b.low), _mm512_adds_epi16(a.high, b.high)}; }
inline S16 saturating_add(S16 a, int16_t b) {
  const __m512i all = _mm512_set1_epi16(b);
  return {_mm512_adds_epi16(a.low, all), _mm512_adds_epi16(a.high, all)};
}
inline S16 shift_right(S16 a, int bits) {
  const __m128i count = _mm_cvtsi32_si128(bits);
  return {_mm512_sra_epi16(a.low, count), _mm512_sra_epi16(a.high, count)};
}

struct P16 {
  static constexpr int kBytes = 64;
  __m512i raw;

  using Codes = __m512i;
  static Codes broadcast(uint16_t codes) { return _mm512_set1_epi16(static_cast<int16_t>(codes)); }
  static P16 zero() { return {_mm512_setzero_si512()}; }
  P16 add_neighbours(const uint8_t* x, Codes codes) const {
    return {_mm512_add_epi16(raw, _mm512_maddubs_epi16(_mm512_loadu_si512(x), codes))};
  }
};

inline S16 interleaved(P16 even, P16 odd) {
  return {_mm512_unpacklo_epi16(even.raw, odd.raw), _mm512_unpackhi_epi16(even.raw, odd.raw)};
}
inline S16 joined(P16 first, P16 second) {
  return {_mm512_shuffle_i64x2(first.raw, second.raw, 0x88), _mm512_shuffle_i64x2(first.raw, second.raw, 0xdd)};
}

//   low    0..3  8..11  16..19  24..27        high   4..7  12..15  20..23  28..31
struct S32 {
  static constexpr int kPixels = 32;
  __m512i low, high;

  static S32 zero() { return {_mm512_setzero_si512(), _mm512_setzero_si512()}; }

  S32 add_products(const int16_t* a, const int16_t* b, uint16_t codes) const {
    const __m512i x = _mm512_loadu_si512(a), y = _mm512_loadu_si512(b);
    const auto code0 = static_cast<uint16_t>(static_cast<int8_t>(codes & 0xff));
    const auto code1 = static_cast<uint16_t>(static_cast<int8_t>(codes >> 8));
    const __m512i c = _mm512_set1_epi32(static_cast<int32_t>(code0 | uint32_t{code1} << 16));
    const __m512i first = _mm512_unpacklo_epi16(x, y), second = _mm512_unpackhi_epi16(x, y);
#ifdef __AVX512VNNI__
    return {_mm512_dpwssd_epi32(low, first, c), _mm512_dpwssd_epi32(high, second, c)};
#else
    return {_mm512_add_epi32(low, _mm512_madd_epi16(first, c)), _mm512_add_epi32(high, _mm512_madd_epi16(second, c))};
#endif
  }

  void store(float* sums) const {
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    _mm512_storeu_ps(sums, _mm512_cvtepi32_ps(_mm512_permutex2var_epi32(low, first, high)));
    _mm512_storeu_ps(sums + 16, _mm512_cvtepi32_ps(_mm512_permutex2var_epi32(low, second, high)));
  }
  void store(double* sums) const {
    each([=](__m256d four, int at) { _mm256_storeu_pd(sums + at, four); });
  }
  void add_to(double* sums) const {
    each([=](__m256d four, int at) { _mm256_storeu_pd(sums + at, _mm256_add_pd(_mm256_loadu_pd(sums + at), four)); });
  }

 private:
  template <class F>
  void each(F f) const {
    f(_mm256_cvtepi32_pd(_mm512_castsi512_si128(low)), 0);
    f(_mm256_cvtepi32_pd(_mm512_castsi512_si128(high)), 4);
    f(_mm256_cvtepi32_pd(_mm512_extracti32x4_epi32(low, 1)), 8);
    f(_mm256_cvtepi32_pd(_mm512_extracti32x4_epi32(high, 1)), 12);
    f(_mm256_cvtepi32_pd(_mm512_extracti32x4_epi32(low, 2)), 16);
    f(_mm256_cvtepi32_pd(_mm512_extracti32x4_epi32(high, 2)), 20);
    f(_mm256_cvtepi32_pd(_mm512_extracti32x4_epi32(low, 3)), 24);
    f(_mm256_cvtepi32_pd(_mm512_extracti32x4_epi32(high, 3)), 28);
  }
};

// The low halves of the bytes, and the high halves, as in S16.
struct N16 {
  static constexpr int kRows = 128;
  S16 low, high;

  static N16 zero() { return {S16::zero(), S16::zero()}; }

  N16 add_columns(const uint8_t* a, const uint8_t* b, uint16_t x) const {
    const __m512i by = _mm512_set1_epi16(static_cast<int16_t>(x)), mask = _mm512_set1_epi8(15);
    const __m512i c = _mm512_loadu_si512(a), d = _mm512_loadu_si512(b);
    return {add(low, _mm512_and_si512(c, mask), _mm512_and_si512(d, mask), by),
            add(high, _mm512_and_si512(_mm512_srli_epi16(c, 4), mask), _mm512_and_si512(_mm512_srli_epi16(d, 4), mask),
                by)};
  }
  void add_to(int32_t* sums) const {
    low.add_to(sums);
    high.add_to(sums + 64);
  }

 private:
  static S16 add(S16 v, __m512i c, __m512i d, __m512i by) {
    return {_mm512_add_epi16(v.low, _mm512_maddubs_epi16(by, _mm512_unpacklo_epi8(c, d))),
            _mm512_add_epi16(v.high, _mm512_maddubs_epi16(by, _mm512_unpackhi_epi8(c, d)))};
  }
};

struct Q32 {
#ifdef __AVX512VNNI__
  static constexpr bool kHasDotProducts = true;
#else
  static constexpr bool kHasDotProducts = false;
#endif
  static constexpr int kPixels = 16;
  static constexpr int kAtOnce = 4;
  __m512i raw;

  static Q32 zero() { return {_mm512_setzero_si512()}; }
  static Q32 load(const int32_t* sums) { return {_mm512_loadu_si512(sums)}; }
  void store(int32_t* sums) const { _mm512_storeu_si512(sums, raw); }
  static __m512i broadcast(const int8_t* codes) {
    int32_t four;
    __builtin_memcpy(&four, codes, sizeof four);
    return _mm512_set1_epi32(four);
  }
#ifdef __AVX512VNNI__
  Q32 add_quads(const uint8_t* x, const int8_t* codes) const {
    return {_mm512_dpbusd_epi32(raw, _mm512_loadu_si512(x), broadcast(codes))};
  }
#else
  static __m512i products(const uint8_t* x, const int8_t* codes) {
    return _mm512_maddubs_epi16(_mm512_loadu_si512(x), broadcast(codes));
  }
  Q32 add_quads(const uint8_t* x, const int8_t* codes) const { return add({products(x, codes)}); }

  struct Short {
    static constexpr int kPixels = 16;
    __m512i raw;

    static Short of_quads(const uint8_t* x, const int8_t* codes) { return {products(x, codes)}; }
    Short add_quads(const uint8_t* x, const int8_t* codes) const { return {_mm512_add_epi16(raw, products(x, codes))}; }
  };
  Q32 add(Short sums) const { return {_mm512_add_epi32(raw, _mm512_madd_epi16(sums.raw, _mm512_set1_epi16(1)))}; }
#endif
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
