// S16, P16, S32, N16 and Q32 for AVX2. sums_scalar.h and integers_scalar.h define what each
// operation means.
//
// vpmaddubsw multiplies neighbouring bytes and adds the two products: interleaving the bytes of two rows of pixels
// makes every pixel's two inputs neighbours. That leaves the pixels in two registers, within each half of a register:
//
//   low    0..7  16..23        high   8..15  24..31
//
// vpackuswb restores their order.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace opq {
namespace {

struct S16 {
  static constexpr int kPixels = 32;
  __m256i low, high;

  static S16 zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static __m256i bytes(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

  S16 add_products(const uint8_t* a, const uint8_t* b, uint16_t codes) const {
    const __m256i x = bytes(a), y = bytes(b), c = _mm256_set1_epi16(static_cast<int16_t>(codes));
    return {_mm256_add_epi16(low, _mm256_maddubs_epi16(_mm256_unpacklo_epi8(x, y), c)),
            _mm256_add_epi16(high, _mm256_maddubs_epi16(_mm256_unpackhi_epi8(x, y), c))};
  }

  void store(int32_t* sums) const {
    const auto widen = [=](__m128i eight, int at) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + at), _mm256_cvtepi16_epi32(eight));
    };
    widen(_mm256_castsi256_si128(low), 0);
    widen(_mm256_castsi256_si128(high), 8);
    widen(_mm256_extracti128_si256(low, 1), 16);
    widen(_mm256_extracti128_si256(high, 1), 24);
  }
  void add_to(int32_t* sums) const {
    const auto add = [=](__m128i eight, int at) {
      auto* p = reinterpret_cast<__m256i*>(sums + at);
      _mm256_storeu_si256(p, _mm256_add_epi32(_mm256_loadu_si256(p), _mm256_cvtepi16_epi32(eight)));
    };
    add(_mm256_castsi256_si128(low), 0);
    add(_mm256_castsi256_si128(high), 8);
    add(_mm256_extracti128_si256(low, 1), 16);
    add(_mm256_extracti128_si256(high, 1), 24);
  }

  static S16 load(const int32_t* sums, int shift) {
    const auto eight = [=](int at) {
      const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + at));
      if (shift <= 0) return v;
      const __m256i half = _mm256_set1_epi32(1 << (shift - 1));  // no sum is beyond 2^30: for shift 31, 2^30 is added
      return _mm256_sra_epi32(_mm256_add_epi32(v, half), _mm_cvtsi32_si128(shift));
    };
    // Sixteen sums of one register, saturated to 16 bits: vpackssdw takes four of either operand in turns.
    const auto sixteen = [](__m256i a, __m256i b) {
      return _mm256_packs_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
    };
    S16 v = {sixteen(eight(0), eight(16)), sixteen(eight(8), eight(24))};
    for (; shift < 0; ++shift) v = {_mm256_adds_epi16(v.low, v.low), _mm256_adds_epi16(v.high, v.high)};
    return v;
  }

  static S16 of_halves(const S16& high, const S16& low, int shift) {
    const __m256i half = _mm256_set1_epi32(shift > 0 ? 1 << (shift - 1) : 0), by = _mm256_set1_epi32(16 | 1 << 16);
    const __m128i count = _mm_cvtsi32_si128(shift);
    const auto join = [=](__m256i h, __m256i l) {
      const __m256i first = _mm256_madd_epi16(_mm256_unpacklo_epi16(h, l), by);
      const __m256i second = _mm256_madd_epi16(_mm256_unpackhi_epi16(h, l), by);
      return _mm256_packs_epi32(_mm256_sra_epi32(_mm256_add_epi32(first, half), count),
                                _mm256_sra_epi32(_mm256_add_epi32(second, half), count));
    };
    return {join(high.low, low.low), join(high.high, low.high)};
  }

  static S16 centred(const uint8_t* r, int zero) {
    const __m256i x = bytes(r), none = _mm256_setzero_si256(), z = _mm256_set1_epi16(static_cast<int16_t>(zero));
    return {_mm256_slli_epi16(_mm256_sub_epi16(_mm256_unpacklo_epi8(x, none), z), 7),
            _mm256_slli_epi16(_mm256_sub_epi16(_mm256_unpackhi_epi8(x, none), z), 7)};
  }

  void store_clamped(uint8_t least, uint8_t most, uint8_t* y, int n) const {
    __m256i v = _mm256_packus_epi16(low, high);
    v = _mm256_max_epu8(v, _mm256_set1_epi8(static_cast<char>(least)));
    v = _mm256_min_epu8(v, _mm256_set1_epi8(static_cast<char>(most)));
    if (n >= kPixels) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), v);
    alignas(32) uint8_t whole[kPixels];
    _mm256_store_si256(reinterpret_cast<__m256i*>(whole), v);
    for (int p = 0; p < n; ++p) y[p] = whole[p];
  }
};

inline S16 high_product(S16 a, int16_t m) {
  const __m256i by = _mm256_set1_epi16(m);
  return {_mm256_mulhrs_epi16(a.low, by), _mm256_mulhrs_epi16(a.high, by)};
}
inline S16 saturating_add(S16 a, S16 b) { return {_mm256_adds_epi16(a.low, b.low), _mm256_adds_epi16(a.high, b.high)}; }
inline S16 saturating_add(S16 a, int16_t b) {
  const __m256i all = _mm256_set1_epi16(b);
  return {_mm256_adds_epi16(a.low, all), _mm256_adds_epi16(a.high, all)};
}
inline S16 shift_right(S16 a, int bits) {
  const __m128i count = _mm_cvtsi32_si128(bits);
  return {_mm256_sra_epi16(a.low, count), _mm256_sra_epi16(a.high, count)};
}

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

// vpmaddubsw adds two products in 16 bits, 2 * 255 * 64 at the most, vpmaddwd these in 32.
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
