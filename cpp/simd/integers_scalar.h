// Sums of products of codes, in plain C++: C32 and N16 of columns, Q32 of four bytes each. The meaning of every
// operation is the one written here.
//
// Included by .cpp files of one instruction set each; internal linkage, as in vec_scalar.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace opq {
namespace {

// 32-bit sums of 8 neighbouring rows.
struct C32 {
  static constexpr int kRows = 8;
  int32_t lane[kRows];

  static C32 zero() { return {}; }
  // + a[m] * x0 + b[m] * x1. x: two words.
  C32 add_columns(const int8_t* a, const int8_t* b, const int16_t* x) const {
    C32 v;
    for (int m = 0; m < kRows; ++m) v.lane[m] = lane[m] + a[m] * x[0] + b[m] * x[1];
    return v;
  }
  void store(int32_t* sums) const {
    for (int m = 0; m < kRows; ++m) sums[m] = lane[m];
  }

  // y[i] = x[2 * i] for i in [0, 16); x may be read one element further.
  template <class T>
  static void copy_even(const T* x, T* y) {
    for (int i = 0; i < 16; ++i) y[i] = x[2 * i];
  }
};

// 16-bit sums of 128 rows, whose codes + 8 lie as half bytes in one cache line: row j in the low half of byte j, row 64
// + j in the high half.
struct N16 {
  static constexpr int kRows = 128;
  int16_t lane[kRows];

  static N16 zero() { return {}; }
  // + a[m] * x0 + b[m] * x1. x: x0 + 256 * x1. No sum leaves 16 bits.
  N16 add_columns(const uint8_t* a, const uint8_t* b, uint16_t x) const {
    const int x0 = x & 0xff, x1 = x >> 8;
    N16 v;
    for (int j = 0; j < 64; ++j) {
      v.lane[j] = static_cast<int16_t>(lane[j] + (a[j] & 15) * x0 + (b[j] & 15) * x1);
      v.lane[64 + j] = static_cast<int16_t>(lane[64 + j] + (a[j] >> 4) * x0 + (b[j] >> 4) * x1);
    }
    return v;
  }
  // sums[m] +=
  void add_to(int32_t* sums) const {
    for (int m = 0; m < kRows; ++m) sums[m] += lane[m];
  }
};

// 32-bit sums of 16 neighbouring pixels, of four bytes each. Other sets may have two things more, which the loops use
// where they are: add_quads_of_row<row>, which takes the codes of four rows (quads-inl.h), and, where x must be signed,
// kTaken, plus and sum_codes (compensation-inl.h).
struct Q32 {
  static constexpr bool kHasDotProducts = false;
  static constexpr int kPixels = 16;
  static constexpr int kAtOnce = 1;  // vectors of pixels whose sums of 4 rows the registers hold
  int32_t lane[kPixels];

  static Q32 zero() { return {}; }
  static Q32 load(const int32_t* sums) {
    Q32 v;
    for (int p = 0; p < kPixels; ++p) v.lane[p] = sums[p];
    return v;
  }
  void store(int32_t* sums) const {
    for (int p = 0; p < kPixels; ++p) sums[p] = lane[p];
  }
  // + code0 * x[p][0] + ... + code3 * x[p][3]. codes: four bytes; without kHasDotProducts neither the positive
  // nor the negative ones of the first two, or of the last two, add up to more than 128.
  Q32 add_quads(const uint8_t* x, const int8_t* codes) const {
    Q32 v;
    for (int p = 0; p < kPixels; ++p) {
      v.lane[p] = lane[p];
      for (int j = 0; j < 4; ++j) v.lane[p] += codes[j] * x[4 * p + j];
    }
    return v;
  }

  // 16-bit sums of the products of bytes 0 and 1, and of bytes 2 and 3, which are added to 32-bit ones later.
  struct Short {
    static constexpr int kPixels = 16;
    int16_t lane[kPixels][2];

    static Short of_quads(const uint8_t* x, const int8_t* codes) { return Short{}.add_quads(x, codes); }
    Short add_quads(const uint8_t* x, const int8_t* codes) const {
      Short v;
      for (int p = 0; p < kPixels; ++p) {
        for (int j = 0; j < 2; ++j) {
          v.lane[p][j] = static_cast<int16_t>(lane[p][j] + codes[2 * j] * x[4 * p + 2 * j] +
                                              codes[2 * j + 1] * x[4 * p + 2 * j + 1]);
        }
      }
      return v;
    }
  };
  Q32 add(const Short& sums) const {
    Q32 v;
    for (int p = 0; p < kPixels; ++p) v.lane[p] = lane[p] + sums.lane[p][0] + sums.lane[p][1];
    return v;
  }
  // y[p][j] = rows[j][at + p] for 16 pixels
  static void interleave(const uint8_t* const* rows, std::ptrdiff_t at, uint8_t* y) {
    for (int p = 0; p < 16; ++p) {
      for (int j = 0; j < 4; ++j) y[4 * p + j] = rows[j][at + p];
    }
  }
};

}  // namespace
}  // namespace opq
