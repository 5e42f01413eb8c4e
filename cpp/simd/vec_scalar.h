// F32: 8 float lanes in plain C++, for any machine. The meaning of every operation is the one written here.
//
// Included by one .cpp file per instruction set. Everything has internal linkage, so that the linker can never
// replace a function by its copy compiled for another instruction set.
#pragma once

#include <cstdint>

namespace opq {
namespace {

struct F32 {
  static constexpr int kLanes = 8;
  static constexpr int kDenseVectors = 4;  // of 1 to 7 vectors, how many sums of 3 rows the registers hold
  float lane[kLanes];

  // Lane i becomes f(i).
  template <class F>
  static F32 make(F f) {
    F32 v;
    for (int i = 0; i < kLanes; ++i) v.lane[i] = f(i);
    return v;
  }

  static F32 zero() {
    return make([](int) { return 0.0f; });
  }
  static F32 set(float x) {
    return make([=](int) { return x; });
  }
  static F32 load(const float* p) {
    return make([=](int i) { return p[i]; });
  }
  // The first n lanes, 0 <= n <= 8; the others are 0 and their memory is not touched.
  static F32 load_n(const float* p, int n) {
    return make([=](int i) { return i < n ? p[i] : 0.0f; });
  }
  // Lanes [from, to), 0 <= from <= to <= 8, likewise. Masks are made once for many loads.
  struct Lanes {
    int from, to;
  };
  static Lanes lanes(int from, int to) { return {from, to}; }
  static F32 load(const float* p, Lanes of) {
    return make([=](int i) { return of.from <= i && i < of.to ? p[i] : 0.0f; });
  }
  static F32 load_i8(const int8_t* p) {
    return make([=](int i) { return static_cast<float>(p[i]); });
  }
  static F32 load_u8(const uint8_t* p) {
    return make([=](int i) { return static_cast<float>(p[i]); });
  }
  static F32 load_i16(const int16_t* p) {
    return make([=](int i) { return static_cast<float>(p[i]); });
  }
  // Lanes that are integers of the type.
  void store_u8(uint8_t* p) const {
    for (int i = 0; i < kLanes; ++i) p[i] = static_cast<uint8_t>(lane[i]);
  }
  void store_i16(int16_t* p) const {
    for (int i = 0; i < kLanes; ++i) p[i] = static_cast<int16_t>(lane[i]);
  }
  void store(float* p) const { store_n(p, kLanes); }
  void store_n(float* p, int n) const {
    for (int i = 0; i < n; ++i) p[i] = lane[i];
  }
};

inline F32 operator+(F32 a, F32 b) {
  return F32::make([&](int i) { return a.lane[i] + b.lane[i]; });
}
inline F32 operator-(F32 a, F32 b) {
  return F32::make([&](int i) { return a.lane[i] - b.lane[i]; });
}
inline F32 operator*(F32 a, F32 b) {
  return F32::make([&](int i) { return a.lane[i] * b.lane[i]; });
}
inline F32 operator/(F32 a, F32 b) {
  return F32::make([&](int i) { return a.lane[i] / b.lane[i]; });
}
// a * b + c with one rounding.
inline F32 mul_add(F32 a, F32 b, F32 c) {
  return F32::make([&](int i) { return __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]); });
}
inline F32 sqrt(F32 a) {
  return F32::make([&](int i) { return __builtin_sqrtf(a.lane[i]); });
}
// The second operand if one of them is NaN or if they are equal, as minps and maxps.
inline F32 min(F32 a, F32 b) {
  return F32::make([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}
inline F32 max(F32 a, F32 b) {
  return F32::make([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
inline F32 abs(F32 a) {
  return F32::make([&](int i) { return __builtin_fabsf(a.lane[i]); });
}
// The nearest integer, ties to even.
inline F32 nearest(F32 a) {
  return F32::make([&](int i) { return __builtin_rintf(a.lane[i]); });
}
inline F32 copy_sign(F32 magnitude, F32 sign) {
  return F32::make([&](int i) { return __builtin_copysignf(magnitude.lane[i], sign.lane[i]); });
}

// a0 a2 a4 a6 b0 b2 b4 b6
inline F32 even_lanes(F32 a, F32 b) {
  return F32::make([&](int i) { return i < 4 ? a.lane[2 * i] : b.lane[2 * i - 8]; });
}
// a1 a3 a5 a7 b1 b3 b5 b7
inline F32 odd_lanes(F32 a, F32 b) {
  return F32::make([&](int i) { return i < 4 ? a.lane[2 * i + 1] : b.lane[2 * i - 7]; });
}

struct Mask {
  bool lane[F32::kLanes];
};

inline Mask less(F32 a, F32 b) {
  Mask m;
  for (int i = 0; i < F32::kLanes; ++i) m.lane[i] = a.lane[i] < b.lane[i];
  return m;
}
inline Mask equal(F32 a, F32 b) {
  Mask m;
  for (int i = 0; i < F32::kLanes; ++i) m.lane[i] = a.lane[i] == b.lane[i];
  return m;
}
inline Mask is_nan(F32 a) {
  Mask m;
  for (int i = 0; i < F32::kLanes; ++i) m.lane[i] = a.lane[i] != a.lane[i];
  return m;
}
inline F32 select(Mask m, F32 yes, F32 no) {
  return F32::make([&](int i) { return m.lane[i] ? yes.lane[i] : no.lane[i]; });
}

inline uint32_t bits(float x) {
  uint32_t u;
  __builtin_memcpy(&u, &x, sizeof u);
  return u;
}
inline float from_bits(uint32_t u) {
  float x;
  __builtin_memcpy(&x, &u, sizeof x);
  return x;
}

// 2^n for an integer n in [-126, 127]. Adding 2^23 + 127 leaves n + 127 in the lowest bits of the significand.
inline F32 pow2(F32 n) {
  return F32::make([&](int i) { return from_bits(bits(n.lane[i] + 8388735.0f) << 23); });
}
// x = mantissa(x) * 2^exponent(x), 1 <= mantissa < 2, for positive normal x.
inline F32 exponent(F32 x) {
  return F32::make([&](int i) { return static_cast<float>(static_cast<int32_t>(bits(x.lane[i]) >> 23) - 127); });
}
inline F32 mantissa(F32 x) {
  return F32::make([&](int i) { return from_bits((bits(x.lane[i]) & 0x7fffff) | 0x3f800000); });
}

// The fixed tree ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)).
inline float sum_of_lanes(F32 a) {
  const float* v = a.lane;
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

}  // namespace
}  // namespace opq
