// S16 in two 256-bit registers: of AVX2, and of AVX-512 for half a tile. sums_scalar.h defines what each operation
// means.
//
// vpmaddubsw multiplies neighbouring bytes and adds the two products: interleaving the bytes of two rows of pixels
// makes every pixel's two inputs neighbours. That leaves the pixels in two registers, within each half of a register:
//
//   kUnpacked   low    0..7        | 16..23             high    8..15         | 24..31
//
// vpackuswb restores their order. 32-bit sums, eight pixels a register, are packed to 16 bits without moving any from
// half to half:
//
//   kPacked     low    0..3  8..11 | 4..7  12..15       high   16..19  24..27 | 20..23  28..31
//
// which takes one vpermd when they are bytes.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace opq {
namespace {

enum class PixelOrder { kUnpacked, kPacked };

template <PixelOrder order>
struct OrderedBytes256;
using Bytes256 = OrderedBytes256<PixelOrder::kUnpacked>;

template <PixelOrder order>
struct OrderedBytes256 {
  using Half = OrderedBytes256;
  using OfSums = OrderedBytes256<PixelOrder::kPacked>;
  static constexpr int kPixels = 32;
  static constexpr bool kIsPacked = order == PixelOrder::kPacked;
  __m256i low, high;

  static OrderedBytes256 zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static __m256i bytes(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

  OrderedBytes256 add_products(const uint8_t* a, const uint8_t* b, uint16_t codes) const {
    static_assert(!kIsPacked);
    const __m256i x = bytes(a), y = bytes(b), c = _mm256_set1_epi16(static_cast<int16_t>(codes));
    return {_mm256_add_epi16(low, _mm256_maddubs_epi16(_mm256_unpacklo_epi8(x, y), c)),
            _mm256_add_epi16(high, _mm256_maddubs_epi16(_mm256_unpackhi_epi8(x, y), c))};
  }

  void store(int32_t* sums) const {
    static_assert(!kIsPacked);
    const auto widen = [=](__m128i eight, int at) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + at), _mm256_cvtepi16_epi32(eight));
    };
    widen(_mm256_castsi256_si128(low), 0);
    widen(_mm256_castsi256_si128(high), 8);
    widen(_mm256_extracti128_si256(low, 1), 16);
    widen(_mm256_extracti128_si256(high, 1), 24);
  }
  void add_to(int32_t* sums) const {
    static_assert(!kIsPacked);
    const auto add = [=](__m128i eight, int at) {
      auto* p = reinterpret_cast<__m256i*>(sums + at);
      _mm256_storeu_si256(p, _mm256_add_epi32(_mm256_loadu_si256(p), _mm256_cvtepi16_epi32(eight)));
    };
    add(_mm256_castsi256_si128(low), 0);
    add(_mm256_castsi256_si128(high), 8);
    add(_mm256_extracti128_si256(low, 1), 16);
    add(_mm256_extracti128_si256(high, 1), 24);
  }

  static OrderedBytes256 load(const int32_t* sums, int shift) {
    static_assert(kIsPacked);
    const auto eight = [=](int at) {
      const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + at));
      if (shift <= 0) return v;
      const __m256i half = _mm256_set1_epi32(1 << (shift - 1));  // no sum is beyond 2^30: for shift 31, 2^30 is added
      return _mm256_sra_epi32(_mm256_add_epi32(v, half), _mm_cvtsi32_si128(shift));
    };
    OrderedBytes256 v = {_mm256_packs_epi32(eight(0), eight(8)), _mm256_packs_epi32(eight(16), eight(24))};
    for (; shift < 0; ++shift) v = {_mm256_adds_epi16(v.low, v.low), _mm256_adds_epi16(v.high, v.high)};
    return v;
  }

  static OrderedBytes256 of_halves(const OrderedBytes256& high, const OrderedBytes256& low, int shift) {
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

  static OrderedBytes256 centred(const uint8_t* r, int zero) {
    const __m256i none = _mm256_setzero_si256(), z = _mm256_set1_epi16(static_cast<int16_t>(zero));
    __m256i x = bytes(r);
    if constexpr (kIsPacked) x = _mm256_permutevar8x32_epi32(x, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
    return {_mm256_slli_epi16(_mm256_sub_epi16(_mm256_unpacklo_epi8(x, none), z), 7),
            _mm256_slli_epi16(_mm256_sub_epi16(_mm256_unpackhi_epi8(x, none), z), 7)};
  }

  void store_clamped(uint8_t least, uint8_t most, uint8_t* y, int n) const {
    __m256i v = _mm256_packus_epi16(low, high);
    if constexpr (kIsPacked) v = _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    v = _mm256_max_epu8(v, _mm256_set1_epi8(static_cast<char>(least)));
    v = _mm256_min_epu8(v, _mm256_set1_epi8(static_cast<char>(most)));
    if (n >= kPixels) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), v);
    alignas(32) uint8_t whole[kPixels];
    _mm256_store_si256(reinterpret_cast<__m256i*>(whole), v);
    for (int p = 0; p < n; ++p) y[p] = whole[p];
  }
};

template <PixelOrder order>
inline OrderedBytes256<order> high_product(OrderedBytes256<order> a, int16_t m) {
  const __m256i by = _mm256_set1_epi16(m);
  return {_mm256_mulhrs_epi16(a.low, by), _mm256_mulhrs_epi16(a.high, by)};
}
template <PixelOrder order>
inline OrderedBytes256<order> saturating_add(OrderedBytes256<order> a, OrderedBytes256<order> b) {
  return {_mm256_adds_epi16(a.low, b.low), _mm256_adds_epi16(a.high, b.high)};
}
template <PixelOrder order>
inline OrderedBytes256<order> saturating_add(OrderedBytes256<order> a, int16_t b) {
  const __m256i all = _mm256_set1_epi16(b);
  return {_mm256_adds_epi16(a.low, all), _mm256_adds_epi16(a.high, all)};
}
template <PixelOrder order>
inline OrderedBytes256<order> shift_right(OrderedBytes256<order> a, int bits) {
  const __m128i count = _mm_cvtsi32_si128(bits);
  return {_mm256_sra_epi16(a.low, count), _mm256_sra_epi16(a.high, count)};
}

}  // namespace
}  // namespace opq
