// Sums over windows of bytes whose taps lie beside each other, for depthwise convolutions with stride 1 or 2:
//
//   sums[p] = sum over ky and kx of  code[ky][kx] * row(ky)[stride * p + kx]
//
// One instruction multiplies the bytes 2 j and 2 j + 1 by two codes and adds the products (P16): nothing is
// interleaved, and with stride 2 nothing has to be split. Three taps a b c are two such pairs:
//
//   stride 1    even pixels    a b at 0, c 0 at 2         stride 2    every pixel    a b at 0, c 0 at 2
//               odd pixels     0 a at 0, b c at 2
//
// Sums have 16 bits. Where the codes of a window are too large for that, it is done in two passes, of the high and the
// low half of every code, or in several, each with some of the codes (the segments of bytes-inl.h). The sums go on in
// 32 bits.
//
//   codes  [passes][height][pairs][even, odd; with stride 2 one]
#pragma once

#include "kernels/bytes-inl.h"
#include "kernels/kernels.h"
#include "kernels/unroll-inl.h"

namespace opq {

// S::kPixels neighbouring pixels.
template <class S, class P, int stride>
struct WindowSums {
  static constexpr int kCodes = stride == 1 ? 2 : 1;
  P first, second;  // stride 1: of the even and of the odd pixels; 2: of the first and of the second half

  static WindowSums zero() { return {P::zero(), P::zero()}; }
  WindowSums add(const uint8_t* x, const typename P::Codes* codes) const {
    if constexpr (stride == 1) return {first.add_neighbours(x, codes[0]), second.add_neighbours(x, codes[1])};
    return {first.add_neighbours(x, codes[0]), second.add_neighbours(x + P::kBytes, codes[0])};
  }
  S in_order() const {
    if constexpr (stride == 1) return interleaved(first, second);
    return joined(first, second);
  }
};

// The usual window, one pass of 3 x 3 taps: its codes stay in registers.
template <class S, class P, int stride>
struct Window3x3 {
  using Sum = S;
  using Sums = WindowSums<S, P, stride>;
  static constexpr int kCodes = 6 * Sums::kCodes;
  std::ptrdiff_t rows[3];
  typename P::Codes codes[kCodes];

  explicit Window3x3(const ByteWindow& window, int pass = 0) {
    for (int ky = 0; ky < 3; ++ky) rows[ky] = window.rows[ky];
    for (int i = 0; i < kCodes; ++i) codes[i] = P::broadcast(window.codes[pass * kCodes + i]);
  }
  template <int... V>
  void operator()(Seq<V...>, const uint8_t* x, S (&sum)[sizeof...(V)]) const {
    ((sum[V] = at(x + stride * S::kPixels * V)), ...);
  }
  S at(const uint8_t* x) const { return at(SeqTo<6>(), x); }

 private:
  template <int... I>
  S at(Seq<I...>, const uint8_t* x) const {
    Sums sums = Sums::zero();
    ((sums = sums.add(x + rows[I / 2] + 2 * (I % 2), codes + Sums::kCodes * I)), ...);
    return sums.in_order();
  }
};

// Likewise with halved codes.
template <class S, class P, int stride>
struct HalvedWindow3x3 {
  using Sum = S;
  Window3x3<S, P, stride> high, low;
  int shift;

  HalvedWindow3x3(const ByteWindow& window, int shift_by) : high(window, 0), low(window, 1), shift(shift_by) {}
  template <int... V>
  void operator()(Seq<V...>, const uint8_t* x, S (&sum)[sizeof...(V)]) const {
    ((sum[V] = at(x + stride * S::kPixels * V)), ...);
  }

 private:
  S at(const uint8_t* x) const { return S::of_halves(high.at(x), low.at(x), shift); }
};

// Any window, by way of 32-bit sums in memory.
template <class S, class P, int stride>
struct AnyWindow {
  using Sums = WindowSums<S, P, stride>;
  using Sum = typename S::OfSums;
  const ByteWindow& window;
  int32_t* sums;  // [kByteTile]
  int shift;

  template <int... V>
  void operator()(Seq<V...> all, const uint8_t* x, Sum (&sum)[sizeof...(V)]) const {
    add_up(all, x);
    ((sum[V] = Sum::load(sums + S::kPixels * V, shift)), ...);
  }
  template <int... V>
  void add_up(Seq<V...>, const uint8_t* x) const {
    const uint16_t* code = window.codes;
    for (int pass = 0; pass < window.passes; ++pass) {
      Sums part[] = {(static_cast<void>(V), Sums::zero())...};
      for (int ky = 0; ky < window.height; ++ky) {
        for (int i = 0; i < window.pairs; ++i, code += Sums::kCodes) {
          const typename P::Codes codes[] = {P::broadcast(code[0]), P::broadcast(code[Sums::kCodes - 1])};
          const uint8_t* at = x + window.rows[ky] + 2 * i;
          ((part[V] = part[V].add(at + stride * S::kPixels * V, codes)), ...);
        }
      }
      for (int p = 0; window.halved && pass == 1 && p < kByteTile; ++p) sums[p] *= 16;
      if (pass == 0) {
        (part[V].in_order().store(sums + S::kPixels * V), ...);
      } else {
        (part[V].in_order().add_to(sums + S::kPixels * V), ...);
      }
    }
  }
};

// The output's n pixels. The last 64 are written in whole.
template <int stride, bool has_residual, class SumsAt, int... V>
inline void finish_window(Seq<V...> all, const uint8_t* x, const SumsAt& sums_at, const ByteOutput& out) {
  using S = typename SumsAt::Sum;
  const ByteFinish<S> finish(out);
  const uint8_t* residual = out.residual;
  uint8_t* y = out.y;
  for (std::ptrdiff_t n = out.n; n > 0; n -= kByteTile, x += stride * kByteTile, y += kByteTile) {
    S sum[sizeof...(V)];
    sums_at(all, x, sum);
    const auto finish_at = [&](S v, int at) {
      finish.store(finish(v, has_residual ? residual + at : nullptr), y + at, S::kPixels);
    };
    (finish_at(sum[V], S::kPixels * V), ...);
    if (has_residual) residual += kByteTile;
  }
}

template <class S, class P, int stride>
inline void window_of(const ByteWindow& window, int32_t* sums, const ByteOutput* out) {
  constexpr SeqTo<kByteTile / S::kPixels> all;
  if (!out) return AnyWindow<S, P, stride>{window, sums, 0}.add_up(all, window.x);
  const int shift = out->rules->shift;
  const AnyWindow<S, P, stride> any = {window, sums, shift};
  if (out->residual) return finish_window<stride, true>(all, window.x, any, *out);
  const bool is_3x3 = window.height == 3 && window.pairs == 2;
  if (is_3x3 && window.passes == 1 && shift == 0) {
    return finish_window<stride, false>(all, window.x, Window3x3<S, P, stride>(window), *out);
  }
  if (is_3x3 && window.halved && shift >= 0) {
    return finish_window<stride, false>(all, window.x, HalvedWindow3x3<S, P, stride>(window, shift), *out);
  }
  finish_window<stride, false>(all, window.x, any, *out);
}

template <class S, class P>
void byte_window(const ByteWindow& window, int32_t* sums, const ByteOutput* out) {
  if (window.stride == 1) return window_of<S, P, 1>(window, sums, out);
  window_of<S, P, 2>(window, sums, out);
}

}  // namespace opq
