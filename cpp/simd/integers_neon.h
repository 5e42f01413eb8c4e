// C32, N16 and Q32 for 64-bit ARM, with dot products where the compiler may use them. integers_scalar.h defines what
// each operation means.
//
// NEON multiplies signed bytes with signed ones, in 16 bits (SMLAL) or, four of them, in 32 (SDOT), but signed with
// unsigned ones only with the extension I8MM. So a panel of Q32 holds x - 128: kTaken, see compensation-inl.h.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace opq {
namespace {

struct C32 {
  static constexpr int kRows = 8;
  int32x4_t low, high;

  static C32 zero() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
  C32 add_columns(const int8_t* a, const int8_t* b, const int16_t* x) const {
    const int16x8_t c = vmovl_s8(vld1_s8(a)), d = vmovl_s8(vld1_s8(b));
    return {vmlal_n_s16(vmlal_n_s16(low, vget_low_s16(c), x[0]), vget_low_s16(d), x[1]),
            vmlal_high_n_s16(vmlal_high_n_s16(high, c, x[0]), d, x[1])};
  }
  void store(int32_t* sums) const {
    vst1q_s32(sums, low);
    vst1q_s32(sums + 4, high);
  }

  static void copy_even(const uint8_t* x, uint8_t* y) { vst1q_u8(y, vuzp1q_u8(vld1q_u8(x), vld1q_u8(x + 16))); }
  static void copy_even(const int16_t* x, int16_t* y) {
    for (int i = 0; i < 2; ++i) {
      vst1q_s16(y + 8 * i, vuzp1q_s16(vld1q_s16(x + 16 * i), vld1q_s16(x + 16 * i + 8)));
    }
  }
};

// The rows of 16 bytes: of their low halves, and of their high halves. No sum is negative.
struct N16Bytes {
  uint16x8_t low[2], high[2];

  static N16Bytes zero() { return {{vdupq_n_u16(0), vdupq_n_u16(0)}, {vdupq_n_u16(0), vdupq_n_u16(0)}}; }
  N16Bytes add_columns(const uint8_t* a, const uint8_t* b, uint8x16_t x0, uint8x16_t x1) const {
    const uint8x16_t c = vld1q_u8(a), d = vld1q_u8(b), mask = vdupq_n_u8(15);
    N16Bytes v = *this;
    add(v.low, vandq_u8(c, mask), x0);
    add(v.low, vandq_u8(d, mask), x1);
    add(v.high, vshrq_n_u8(c, 4), x0);
    add(v.high, vshrq_n_u8(d, 4), x1);
    return v;
  }
  void add_to(int32_t* sums) const {
    add_eight(sums, low[0]);
    add_eight(sums + 8, low[1]);
    add_eight(sums + 64, high[0]);
    add_eight(sums + 72, high[1]);
  }

 private:
  static void add(uint16x8_t (&sums)[2], uint8x16_t codes, uint8x16_t x) {
    sums[0] = vmlal_u8(sums[0], vget_low_u8(codes), vget_low_u8(x));
    sums[1] = vmlal_high_u8(sums[1], codes, x);
  }
  static void add_eight(int32_t* sums, uint16x8_t eight) {
    const int16x8_t v = vreinterpretq_s16_u16(eight);  // below 2^15
    vst1q_s32(sums, vaddw_s16(vld1q_s32(sums), vget_low_s16(v)));
    vst1q_s32(sums + 4, vaddw_high_s16(vld1q_s32(sums + 4), v));
  }
};

// Not an array: g++ 12 would loop over it, in memory.
struct N16 {
  static constexpr int kRows = 128;
  N16Bytes s0, s1, s2, s3;

  static N16 zero() { return {N16Bytes::zero(), N16Bytes::zero(), N16Bytes::zero(), N16Bytes::zero()}; }
  N16 add_columns(const uint8_t* a, const uint8_t* b, uint16_t x) const {
    const uint8x16_t x0 = vdupq_n_u8(static_cast<uint8_t>(x & 0xff)), x1 = vdupq_n_u8(static_cast<uint8_t>(x >> 8));
    return {s0.add_columns(a, b, x0, x1), s1.add_columns(a + 16, b + 16, x0, x1),
            s2.add_columns(a + 32, b + 32, x0, x1), s3.add_columns(a + 48, b + 48, x0, x1)};
  }
  void add_to(int32_t* sums) const {
    s0.add_to(sums);
    s1.add_to(sums + 16);
    s2.add_to(sums + 32);
    s3.add_to(sums + 48);
    asm volatile("" : : "r"(sums) : "memory");  // or the compiler keeps sums in registers, and runs out of them
  }
};

// Four pixels.
struct Q32 {
  static constexpr int kTaken = 128;
  static constexpr int kPixels = 4;
  int32x4_t raw;

  static Q32 zero() { return {vdupq_n_s32(0)}; }
  static Q32 load(const int32_t* sums) { return {vld1q_s32(sums)}; }
  void store(int32_t* sums) const { vst1q_s32(sums, raw); }
  Q32 plus(int32_t x) const { return {vaddq_s32(raw, vdupq_n_s32(x))}; }
  static int8x16_t bytes(const uint8_t* x) { return vreinterpretq_s8_u8(vld1q_u8(x)); }
  static int8x16_t broadcast(const int8_t* codes) {
    int32_t four;
    __builtin_memcpy(&four, codes, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
  }

#ifdef __ARM_FEATURE_DOTPROD
  static constexpr bool kHasDotProducts = true;
  static constexpr int kAtOnce = 4;  // 16 sums + 4 inputs + the codes of 32 registers

  Q32 add_quads(const uint8_t* x, const int8_t* codes) const { return {vdotq_s32(raw, bytes(x), broadcast(codes))}; }
  // SDOT takes one of four rows' codes out of a register: a load instead of four broadcasts.
  template <int row>
  Q32 add_quads_of_row(const uint8_t* x, const int8_t* codes) const {
    return {vdotq_laneq_s32(raw, bytes(x), vld1q_s8(codes), row)};
  }
  static int32x4_t add_codes(int32x4_t sums, int8x16_t codes) { return vdotq_s32(sums, codes, vdupq_n_s8(1)); }
#else
  static constexpr bool kHasDotProducts = false;
  static constexpr int kAtOnce = 2;  // 16 registers of sums in a turn + 2 inputs + 4 codes

  Q32 add_quads(const uint8_t* x, const int8_t* codes) const { return add(Short::of_quads(x, codes)); }

  // Every product has a sum of its own; the first two pixels', and the others'.
  struct Short {
    static constexpr int kPixels = 4;
    int16x8_t low, high;

    static Short of_quads(const uint8_t* x, const int8_t* codes) {
      const int8x16_t p = bytes(x), c = broadcast(codes);
      return {vmull_s8(vget_low_s8(p), vget_low_s8(c)), vmull_high_s8(p, c)};
    }
    Short add_quads(const uint8_t* x, const int8_t* codes) const {
      const int8x16_t p = bytes(x), c = broadcast(codes);
      return {vmlal_s8(low, vget_low_s8(p), vget_low_s8(c)), vmlal_high_s8(high, p, c)};
    }
  };
  // Two products' sums fit 16 bits: x is -128 to 127, and the codes of either sign add up to 128 at the most.
  Q32 add(Short sums) const { return {vpadalq_s16(raw, vpaddq_s16(sums.low, sums.high))}; }
  static int32x4_t add_codes(int32x4_t sums, int8x16_t codes) { return vpadalq_s16(sums, vpaddlq_s8(codes)); }
#endif

  // sums[row] = the sum of the row's codes, [quads][4 rows][4]
  static void sum_codes(const int8_t* codes, int quads, int32_t* sums) {
    int32x4_t rows = vdupq_n_s32(0);
    for (int k = 0; k < quads; ++k) rows = add_codes(rows, vld1q_s8(codes + 16 * k));
    vst1q_s32(sums, rows);
  }
  static void interleave(const uint8_t* const* rows, std::ptrdiff_t at, uint8_t* y) {
    const auto row = [=](int j) { return veorq_u8(vld1q_u8(rows[j] + at), vdupq_n_u8(kTaken)); };  // as signed: x - 128
    const uint8x16_t a = row(0), b = row(1), c = row(2), d = row(3);
    const uint8x16_t ab[2] = {vzip1q_u8(a, b), vzip2q_u8(a, b)}, cd[2] = {vzip1q_u8(c, d), vzip2q_u8(c, d)};
    for (int i = 0; i < 2; ++i) {
      const uint16x8_t two = vreinterpretq_u16_u8(ab[i]), others = vreinterpretq_u16_u8(cd[i]);
      vst1q_u8(y + 32 * i, vreinterpretq_u8_u16(vzip1q_u16(two, others)));
      vst1q_u8(y + 32 * i + 16, vreinterpretq_u8_u16(vzip2q_u16(two, others)));
    }
  }
};

}  // namespace
}  // namespace opq
