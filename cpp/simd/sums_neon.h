// S16, P16 and S32 for 64-bit ARM. sums_scalar.h defines what each operation means.
//
// Bytes are widened and multiplied by one code at a time: NEON has no product of unsigned with signed bytes, but for
// the extension I8MM.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace opq {
namespace {

struct S16 {
  using Half = S16;
  using OfSums = S16;
  static constexpr int kPixels = 32;
  int16x8_t eight[4];

  static S16 zero() { return set(0); }
  static S16 set(int16_t x) { return {{vdupq_n_s16(x), vdupq_n_s16(x), vdupq_n_s16(x), vdupq_n_s16(x)}}; }

  S16 add_products(const uint8_t* a, const uint8_t* b, uint16_t codes) const {
    const auto code0 = static_cast<int8_t>(codes & 0xff), code1 = static_cast<int8_t>(codes >> 8);
    S16 v;
    for (int i = 0; i < 4; ++i) {
      v.eight[i] = vmlaq_n_s16(vmlaq_n_s16(eight[i], widened(a + 8 * i), code0), widened(b + 8 * i), code1);
    }
    return v;
  }

  void store(int32_t* sums) const {
    for (int i = 0; i < 4; ++i) {
      vst1q_s32(sums + 8 * i, vmovl_s16(vget_low_s16(eight[i])));
      vst1q_s32(sums + 8 * i + 4, vmovl_s16(vget_high_s16(eight[i])));
    }
  }
  void add_to(int32_t* sums) const {
    for (int i = 0; i < 4; ++i) {
      vst1q_s32(sums + 8 * i, vaddw_s16(vld1q_s32(sums + 8 * i), vget_low_s16(eight[i])));
      vst1q_s32(sums + 8 * i + 4, vaddw_s16(vld1q_s32(sums + 8 * i + 4), vget_high_s16(eight[i])));
    }
  }

  static S16 load(const int32_t* sums, int shift) {
    // SRSHL by a negative number shifts right and rounds half up, without overflow.
    const int32x4_t right = vdupq_n_s32(shift > 0 ? -shift : 0);
    S16 v;
    for (int i = 0; i < 4; ++i) {
      const int32x4_t low = vrshlq_s32(vld1q_s32(sums + 8 * i), right);
      const int32x4_t high = vrshlq_s32(vld1q_s32(sums + 8 * i + 4), right);
      v.eight[i] = vcombine_s16(vqmovn_s32(low), vqmovn_s32(high));
    }
    for (; shift < 0; ++shift) {
      for (int i = 0; i < 4; ++i) v.eight[i] = vqaddq_s16(v.eight[i], v.eight[i]);
    }
    return v;
  }

  static S16 of_halves(const S16& high, const S16& low, int shift) {
    const int32x4_t right = vdupq_n_s32(-shift);
    const auto join = [=](int16x4_t h, int16x4_t l) {
      return vqmovn_s32(vrshlq_s32(vaddw_s16(vshll_n_s16(h, 4), l), right));
    };
    S16 v;
    for (int i = 0; i < 4; ++i) {
      v.eight[i] = vcombine_s16(join(vget_low_s16(high.eight[i]), vget_low_s16(low.eight[i])),
                                join(vget_high_s16(high.eight[i]), vget_high_s16(low.eight[i])));
    }
    return v;
  }

  static S16 centred(const uint8_t* r, int zero) {
    const int16x8_t z = vdupq_n_s16(static_cast<int16_t>(zero));
    S16 v;
    for (int i = 0; i < 4; ++i) v.eight[i] = vshlq_n_s16(vsubq_s16(widened(r + 8 * i), z), 7);
    return v;
  }

  void store_clamped(uint8_t least, uint8_t most, uint8_t* y, int n) const {
    uint8_t whole[kPixels];
    uint8_t* to = n >= kPixels ? y : whole;
    for (int i = 0; i < 2; ++i) {
      const uint8x16_t v = vcombine_u8(vqmovun_s16(eight[2 * i]), vqmovun_s16(eight[2 * i + 1]));
      vst1q_u8(to + 16 * i, vminq_u8(vmaxq_u8(v, vdupq_n_u8(least)), vdupq_n_u8(most)));
    }
    for (int p = 0; p < n && n < kPixels; ++p) y[p] = whole[p];
  }

 private:
  static int16x8_t widened(const uint8_t* p) { return vreinterpretq_s16_u16(vmovl_u8(vld1_u8(p))); }
};

inline S16 high_product(S16 a, int16_t m) {
  S16 v;
  for (int i = 0; i < 4; ++i) v.eight[i] = vqrdmulhq_n_s16(a.eight[i], m);
  return v;
}
inline S16 saturating_add(S16 a, S16 b) {
  S16 v;
  for (int i = 0; i < 4; ++i) v.eight[i] = vqaddq_s16(a.eight[i], b.eight[i]);
  return v;
}
inline S16 saturating_add(S16 a, int16_t b) { return saturating_add(a, S16::set(b)); }
inline S16 shift_right(S16 a, int bits) {
  S16 v;
  for (int i = 0; i < 4; ++i) v.eight[i] = vshlq_s16(a.eight[i], vdupq_n_s16(static_cast<int16_t>(-bits)));
  return v;
}

// Words of two bytes: the even ones are their low halves.
struct P16 {
  static constexpr int kBytes = 32;
  int16x8_t eight[2];

  using Codes = uint16_t;
  static Codes broadcast(uint16_t codes) { return codes; }
  static P16 zero() { return {{vdupq_n_s16(0), vdupq_n_s16(0)}}; }
  P16 add_neighbours(const uint8_t* x, Codes codes) const {
    const auto code0 = static_cast<int8_t>(codes & 0xff), code1 = static_cast<int8_t>(codes >> 8);
    P16 v;
    for (int i = 0; i < 2; ++i) {
      const uint16x8_t both = vreinterpretq_u16_u8(vld1q_u8(x + 16 * i));
      const int16x8_t even = vreinterpretq_s16_u16(vandq_u16(both, vdupq_n_u16(0xff)));
      const int16x8_t odd = vreinterpretq_s16_u16(vshrq_n_u16(both, 8));
      v.eight[i] = vmlaq_n_s16(vmlaq_n_s16(eight[i], even, code0), odd, code1);
    }
    return v;
  }
};

inline S16 interleaved(P16 even, P16 odd) {
  return {{vzip1q_s16(even.eight[0], odd.eight[0]), vzip2q_s16(even.eight[0], odd.eight[0]),
           vzip1q_s16(even.eight[1], odd.eight[1]), vzip2q_s16(even.eight[1], odd.eight[1])}};
}
inline S16 joined(P16 first, P16 second) {
  return {{first.eight[0], first.eight[1], second.eight[0], second.eight[1]}};
}

struct S32 {
  static constexpr int kPixels = 16;
  int32x4_t four[4];

  static S32 zero() { return {{vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}}; }

  S32 add_products(const int16_t* a, const int16_t* b, uint16_t codes) const {
    const auto code0 = static_cast<int8_t>(codes & 0xff), code1 = static_cast<int8_t>(codes >> 8);
    S32 v;
    for (int i = 0; i < 4; ++i) {
      v.four[i] = vmlal_n_s16(vmlal_n_s16(four[i], vld1_s16(a + 4 * i), code0), vld1_s16(b + 4 * i), code1);
    }
    return v;
  }

  void store(float* sums) const {
    for (int i = 0; i < 4; ++i) vst1q_f32(sums + 4 * i, vcvtq_f32_s32(four[i]));
  }
  void store(double* sums) const {
    for (int i = 0; i < 4; ++i) {
      vst1q_f64(sums + 4 * i, low(four[i]));
      vst1q_f64(sums + 4 * i + 2, high(four[i]));
    }
  }
  void add_to(double* sums) const {
    for (int i = 0; i < 4; ++i) {
      vst1q_f64(sums + 4 * i, vaddq_f64(vld1q_f64(sums + 4 * i), low(four[i])));
      vst1q_f64(sums + 4 * i + 2, vaddq_f64(vld1q_f64(sums + 4 * i + 2), high(four[i])));
    }
  }

 private:
  static float64x2_t low(int32x4_t v) { return vcvtq_f64_s64(vmovl_s32(vget_low_s32(v))); }
  static float64x2_t high(int32x4_t v) { return vcvtq_f64_s64(vmovl_s32(vget_high_s32(v))); }
};

}  // namespace
}  // namespace opq
