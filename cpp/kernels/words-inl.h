// Products of small integer codes with 16-bit activations, sparse, on one tile of 64 pixels: as bytes-inl.h, in sums of
// 32 bits (S32). A segment's codes without their signs add up to 65535 at the most: 65535 * 32767 fits. Sums are kept
// as float64, which holds them exactly, as they may have up to 53 bits.
#pragma once

#include "kernels/activation-inl.h"
#include "kernels/bytes-inl.h"
#include "kernels/finish-inl.h"
#include "kernels/kernels.h"
#include "kernels/quantize-inl.h"
#include "kernels/unroll-inl.h"

namespace opq {

namespace {

struct WordPanelPlaces {
  const int16_t* panel;
  const int16_t* operator()(uint32_t place) const { return panel + 8 * std::size_t{place}; }
};
struct WordPlanePlaces {
  const int16_t* x;
  const std::ptrdiff_t* offsets;
  const int16_t* operator()(uint32_t place) const {
    return x + *reinterpret_cast<const std::ptrdiff_t*>(reinterpret_cast<const char*>(offsets) + place);
  }
};

}  // namespace

// Row m of the sums to its place in y. The sums of several runs are brought together first.
template <class F, class Act>
inline void finish_word_row(float* sums, const WordOutput& out, int m, const Act& act) {
  const int n = static_cast<int>(out.n), length = out.length;
  for (int i = 1; i < out.runs; ++i) {
    for (int p = 0; p < length; ++p) sums[i * length + p] = sums[i * out.step + p];
  }
  const F scale = F::set((out.scale ? out.scale[m] : 1.0f) * out.x_scale), bias = F::set(out.bias ? out.bias[m] : 0.0f);
  const F inverse = F::set(out.y_inverse), residual_scale = F::set(out.residual_scale);
  const F least = F::set(-32767.0f), most = F::set(32767.0f);
  const int16_t* residual = out.residual ? out.residual + m * out.stride : nullptr;
  int16_t* y = out.y + m * out.stride;
  for (int p = 0; p < n; p += F::kLanes) {
    F v = finish(F::load(sums + p), scale, bias);
    if (residual) v = v + F::load_i16(residual + p) * residual_scale;
    v = nearest_between(act(v), inverse, least, most);
    if (n - p >= F::kLanes) {
      v.store_i16(y + p);
    } else {
      int16_t whole[F::kLanes];
      v.store_i16(whole);
      for (int i = 0; i < n - p; ++i) y[p + i] = whole[i];
    }
  }
}

// done(sums, m) takes the finished sums of a row, as floats; without `finishes` they stay in `sums`.
template <class S, bool finishes, class X, class Done, int... V>
inline void word_rows(Seq<V...> all, const PairBlock& block, int rows, X x, double* sums, bool first,
                      const WordOutput* out, const Done& done) {
  const uint8_t* count = block.counts;
  const uint8_t* pair = block.pairs;
  const int stride = finishes && first ? 0 : kByteTile;
  for (int m = 0; m < rows; ++m, sums += stride) {
    if (finishes && m + kPrefetchedRows < rows) prefetch_row<S>(*out, m + kPrefetchedRows);
    const int segments = block.segments[m];
    const bool in_registers = finishes && first && segments <= 1;
    if (first && segments == 0 && !in_registers) {
      for (int p = 0; p < kByteTile; ++p) sums[p] = 0.0;
    }
    alignas(64) float floats[kByteTile] = {};
    for (int s = 0; s < segments; ++s) {
      S sum[sizeof...(V)] = {(static_cast<void>(V), S::zero())...};
      add_segment(all, *count++, pair, x, sum);
      if (in_registers) {
        (sum[V].store(floats + S::kPixels * V), ...);
      } else if (first && s == 0) {
        (sum[V].store(sums + S::kPixels * V), ...);
      } else {
        (sum[V].add_to(sums + S::kPixels * V), ...);
      }
    }
    if constexpr (finishes) {
      if (!in_registers) {
        for (int p = 0; p < S::kPixels * int{sizeof...(V)}; ++p) floats[p] = static_cast<float>(sums[p]);
      }
      done(floats, m);
    }
  }
}

template <class F, class S, int pixels, class X>
void word_rows_to(const PairBlock& block, int rows, X x, double* sums, bool first, const WordOutput* out) {
  constexpr SeqTo<pixels / S::kPixels> all;
  if (!out) return word_rows<S, false>(all, block, rows, x, sums, first, nullptr, 0);
  with_activation<F>(*out->act, [&](auto act) {
    word_rows<S, true>(all, block, rows, x, sums, first, out,
                       [&](float* floats, int m) { finish_word_row<F>(floats, *out, m, act); });
  });
}

template <class F, class S>
void word_block(const PairBlock& block, int rows, const int16_t* panel, int pixels, double* sums, bool first,
                const WordOutput* out) {
  if (pixels <= kHalfTile) return word_rows_to<F, S, kHalfTile>(block, rows, WordPanelPlaces{panel}, sums, first, out);
  word_rows_to<F, S, kByteTile>(block, rows, WordPanelPlaces{panel}, sums, first, out);
}

template <class F, class S>
void word_block_in_place(const PairBlock& block, int rows, const int16_t* x, const std::ptrdiff_t* offsets,
                         double* sums, bool first, const WordOutput* out) {
  word_rows_to<F, S, kByteTile>(block, rows, WordPlanePlaces{x, offsets}, sums, first, out);
}

}  // namespace opq
