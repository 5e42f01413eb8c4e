// F32: 8 float lanes in two NEON registers. vec_scalar.h defines what each operation means.
//
// Included by one .cpp file. Everything has internal linkage, as in the other sets.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace opq {
namespace {

struct F32 {
  static constexpr int kLanes = 8;
  static constexpr int kDenseVectors = 4;  // 2 x 3 x 4 sums + 3 weights + 2 inputs of 32 registers
  float32x4_t low, high;

  static F32 zero() { return set(0.0f); }
  static F32 set(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
  static F32 load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
  static F32 load_n(const float* p, int n) {
    float lanes[kLanes] = {};
    for (int i = 0; i < n; ++i) lanes[i] = p[i];
    return load(lanes);
  }
  struct Lanes {
    int from, to;
  };
  static Lanes lanes(int from, int to) { return {from, to}; }
  static F32 load(const float* p, Lanes of) {
    float lanes[kLanes] = {};
    for (int i = of.from; i < of.to; ++i) lanes[i] = p[i];
    return load(lanes);
  }
  static F32 load_i8(const int8_t* p) {
    const int16x8_t codes = vmovl_s8(vld1_s8(p));
    return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(codes))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(codes)))};
  }
  static F32 load_u8(const uint8_t* p) {
    const uint16x8_t words = vmovl_u8(vld1_u8(p));
    return {vcvtq_f32_u32(vmovl_u16(vget_low_u16(words))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(words)))};
  }
  static F32 load_i16(const int16_t* p) {
    const int16x8_t words = vld1q_s16(p);
    return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(words))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(words)))};
  }
  void store_u8(uint8_t* p) const {
    vst1_u8(p, vmovn_u16(vcombine_u16(vmovn_u32(vcvtq_u32_f32(low)), vmovn_u32(vcvtq_u32_f32(high)))));
  }
  void store_i16(int16_t* p) const {
    vst1q_s16(p, vcombine_s16(vmovn_s32(vcvtq_s32_f32(low)), vmovn_s32(vcvtq_s32_f32(high))));
  }
  void store(float* p) const {
    vst1q_f32(p, low);
    vst1q_f32(p + 4, high);
  }
  void store_n(float* p, int n) const {
    if (n >= kLanes) return store(p);
    float32x4_t four = low;
    if (n & 4) {
      vst1q_f32(p, four);
      four = high;
      p += 4;
    }
    float32x2_t two = vget_low_f32(four);
    if (n & 2) {
      vst1_f32(p, two);
      two = vget_high_f32(four);
      p += 2;
    }
    if (n & 1) vst1_lane_f32(p, two, 0);
  }
};

inline F32 operator+(F32 a, F32 b) { return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)}; }
inline F32 operator-(F32 a, F32 b) { return {vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)}; }
inline F32 operator*(F32 a, F32 b) { return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)}; }
inline F32 operator/(F32 a, F32 b) { return {vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)}; }
inline F32 mul_add(F32 a, F32 b, F32 c) { return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)}; }
inline F32 sqrt(F32 a) { return {vsqrtq_f32(a.low), vsqrtq_f32(a.high)}; }
inline F32 nearest(F32 a) { return {vrndnq_f32(a.low), vrndnq_f32(a.high)}; }
inline F32 abs(F32 a) { return {vabsq_f32(a.low), vabsq_f32(a.high)}; }

struct Mask {
  uint32x4_t low, high;
};

inline Mask less(F32 a, F32 b) { return {vcltq_f32(a.low, b.low), vcltq_f32(a.high, b.high)}; }
inline Mask equal(F32 a, F32 b) { return {vceqq_f32(a.low, b.low), vceqq_f32(a.high, b.high)}; }
inline Mask is_nan(F32 a) {
  const Mask ordered = equal(a, a);
  return {vmvnq_u32(ordered.low), vmvnq_u32(ordered.high)};
}
inline F32 select(Mask m, F32 yes, F32 no) {
  return {vbslq_f32(m.low, yes.low, no.low), vbslq_f32(m.high, yes.high, no.high)};
}

// Not FMIN and FMAX, which answer NaN whichever operand is one.
inline F32 min(F32 a, F32 b) { return select(less(a, b), a, b); }
inline F32 max(F32 a, F32 b) { return select(less(b, a), a, b); }

inline F32 copy_sign(F32 magnitude, F32 sign) {
  const uint32x4_t sign_bit = vdupq_n_u32(0x80000000);
  return select({sign_bit, sign_bit}, sign, magnitude);
}

inline F32 even_lanes(F32 a, F32 b) { return {vuzp1q_f32(a.low, a.high), vuzp1q_f32(b.low, b.high)}; }
inline F32 odd_lanes(F32 a, F32 b) { return {vuzp2q_f32(a.low, a.high), vuzp2q_f32(b.low, b.high)}; }

inline float32x4_t pow2(float32x4_t n) {
  const uint32x4_t biased = vreinterpretq_u32_f32(vaddq_f32(n, vdupq_n_f32(8388735.0f)));
  return vreinterpretq_f32_u32(vshlq_n_u32(biased, 23));
}
inline float32x4_t exponent(float32x4_t x) {
  const int32x4_t biased = vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_f32(x), 23));
  return vcvtq_f32_s32(vsubq_s32(biased, vdupq_n_s32(127)));
}
inline float32x4_t mantissa(float32x4_t x) {
  const uint32x4_t fraction = vandq_u32(vreinterpretq_u32_f32(x), vdupq_n_u32(0x7fffff));
  return vreinterpretq_f32_u32(vorrq_u32(fraction, vdupq_n_u32(0x3f800000)));
}
inline F32 pow2(F32 n) { return {pow2(n.low), pow2(n.high)}; }
inline F32 exponent(F32 x) { return {exponent(x.low), exponent(x.high)}; }
inline F32 mantissa(F32 x) { return {mantissa(x.low), mantissa(x.high)}; }

inline float sum_of_lanes(F32 a) {
  const float32x4_t four = vaddq_f32(a.low, a.high);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

}  // namespace
}  // namespace opq
