// Sums of products of integers, in plain C++: S16 of bytes, S32 of words; C32, N16 and Q32 are in integers_scalar.h.
// The meaning of every operation is the one written here; the arithmetic is that of docs/integers.md.
//
// Included by one .cpp file per instruction set; internal linkage, as in vec_scalar.h.
#pragma once

#include <cstdint>

namespace opq {
namespace {

inline int16_t saturate(int32_t x) { return static_cast<int16_t>(x < -32768 ? -32768 : x > 32767 ? 32767 : x); }

// 16-bit sums of 32 neighbouring pixels.
struct S16 {
  using Half = S16;    // for half a tile: another type where the registers of this one hold a whole one
  using OfSums = S16;  // for sums that come from memory: another type where another order of the pixels is easier then
  static constexpr int kPixels = 32;
  int16_t lane[kPixels];

  template <class F>
  static S16 make(F f) {
    S16 v;
    for (int p = 0; p < kPixels; ++p) v.lane[p] = f(p);
    return v;
  }

  static S16 zero() {
    return make([](int) { return int16_t{0}; });
  }
  // + code0 * a[p] + code1 * b[p], where no sum leaves 16 bits. codes: code0 + 256 * code1, as bytes.
  S16 add_products(const uint8_t* a, const uint8_t* b, uint16_t codes) const {
    const int code0 = static_cast<int8_t>(codes & 0xff), code1 = static_cast<int8_t>(codes >> 8);
    return make([&](int p) { return static_cast<int16_t>(lane[p] + code0 * a[p] + code1 * b[p]); });
  }
  // sums[p] = or +=
  void store(int32_t* sums) const {
    for (int p = 0; p < kPixels; ++p) sums[p] = lane[p];
  }
  void add_to(int32_t* sums) const {
    for (int p = 0; p < kPixels; ++p) sums[p] += lane[p];
  }
  // saturate(sums[p] >> shift), rounded half up; saturate(sums[p] << -shift) where shift is negative. -14 to 31; no sum
  // is beyond 2^30.
  static S16 load(const int32_t* sums, int shift) {
    return make([=](int p) {
      if (shift > 0) return saturate(static_cast<int32_t>((sums[p] + (int64_t{1} << (shift - 1))) >> shift));
      return saturate(saturate(sums[p]) * (1 << -shift));
    });
  }
  // saturate((16 * high[p] + low[p]) >> shift), rounded half up; shift 0 to 30.
  static S16 of_halves(const S16& high, const S16& low, int shift) {
    return make([&](int p) {
      const int64_t half = shift > 0 ? int64_t{1} << (shift - 1) : 0;
      return saturate(static_cast<int32_t>((16 * high.lane[p] + low.lane[p] + half) >> shift));
    });
  }
  // (r[p] - zero) << 7
  static S16 centred(const uint8_t* r, int zero) {
    return make([=](int p) { return static_cast<int16_t>((r[p] - zero) * 128); });
  }
  // y[p] = min(max(lane, least), most) for the first n pixels, or all where n is more
  void store_clamped(uint8_t least, uint8_t most, uint8_t* y, int n) const {
    for (int p = 0; p < n && p < kPixels; ++p) {
      const int v = lane[p] < least ? least : lane[p];
      y[p] = static_cast<uint8_t>(v > most ? most : v);
    }
  }
};

// (a * m + 2^14) >> 15
inline S16 high_product(S16 a, int16_t m) {
  return S16::make([&](int p) { return saturate((a.lane[p] * m + (1 << 14)) >> 15); });
}
inline S16 saturating_add(S16 a, S16 b) {
  return S16::make([&](int p) { return saturate(a.lane[p] + b.lane[p]); });
}
inline S16 saturating_add(S16 a, int16_t b) {
  return S16::make([&](int p) { return saturate(a.lane[p] + b); });
}
inline S16 shift_right(S16 a, int bits) {
  return S16::make([&](int p) { return static_cast<int16_t>(a.lane[p] >> bits); });
}

// 16-bit sums of neighbouring bytes, 16 of them.
struct P16 {
  static constexpr int kBytes = 32;
  int16_t lane[kBytes / 2];

  using Codes = uint16_t;  // code0 + 256 * code1, as bytes
  static Codes broadcast(uint16_t codes) { return codes; }
  static P16 zero() { return {}; }
  // + code0 * x[2 i] + code1 * x[2 i + 1], where neither the products nor the sum leave 16 bits
  P16 add_neighbours(const uint8_t* x, Codes codes) const {
    const int code0 = static_cast<int8_t>(codes & 0xff), code1 = static_cast<int8_t>(codes >> 8);
    P16 v;
    for (int i = 0; i < kBytes / 2; ++i) {
      v.lane[i] = static_cast<int16_t>(lane[i] + code0 * x[2 * i] + code1 * x[2 * i + 1]);
    }
    return v;
  }
};

// Pixels 2 i and 2 i + 1
inline S16 interleaved(const P16& even, const P16& odd) {
  return S16::make([&](int p) { return (p % 2 == 0 ? even : odd).lane[p / 2]; });
}
// Pixels i and 16 + i
inline S16 joined(const P16& first, const P16& second) {
  return S16::make([&](int p) { return p < 16 ? first.lane[p] : second.lane[p - 16]; });
}

// 32-bit sums of 16 neighbouring pixels.
struct S32 {
  static constexpr int kPixels = 16;
  int32_t lane[kPixels];

  static S32 zero() { return {}; }
  // + code0 * a[p] + code1 * b[p]. codes as in S16.
  S32 add_products(const int16_t* a, const int16_t* b, uint16_t codes) const {
    const int code0 = static_cast<int8_t>(codes & 0xff), code1 = static_cast<int8_t>(codes >> 8);
    S32 v;
    for (int p = 0; p < kPixels; ++p) v.lane[p] = lane[p] + code0 * a[p] + code1 * b[p];
    return v;
  }
  // sums[p] = or +=; of floats, rounded to nearest even
  void store(float* sums) const {
    for (int p = 0; p < kPixels; ++p) sums[p] = static_cast<float>(lane[p]);
  }
  void store(double* sums) const {
    for (int p = 0; p < kPixels; ++p) sums[p] = lane[p];
  }
  void add_to(double* sums) const {
    for (int p = 0; p < kPixels; ++p) sums[p] += lane[p];
  }
};

}  // namespace
}  // namespace opq
