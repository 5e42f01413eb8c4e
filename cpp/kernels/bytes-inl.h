// Products of small integer codes with 8-bit activations, sparse, on one tile of 64 pixels:
//
//   sums[m][p] += code * x(k)[p]     for the nonzeros (k, code) of row m
//
// where x(k) are 64 neighbouring bytes: row k of a panel, or where they lie in padded planes. Any two nonzeros of a row
// make a pair: their bytes are interleaved, multiplied by the pair of codes and added in 16 bits (S16). 16 bits hold a
// segment: the positive codes of it add up to 128 at the most, and so do the negative ones, 128 * 255 = 32640. Between
// segments sums go on in 32 bits.
//
//   segments  s0 s1 s2 ...        two bytes per row: how many
//   counts    c c | c | c c c     one byte per segment: how many pairs
//   pairs     k k q q d | ...     five bytes per pair: 8 k of its first nonzero in 16 bits, both codes, and how much
//                                 larger k is for the second; where a nonzero stands alone, the second code is 0
//
// A row of one segment never leaves the registers: it is finished to bytes from there (docs/integers.md has the rule).
#pragma once

#include "kernels/kernels.h"
#include "kernels/unroll-inl.h"

namespace opq {
namespace {

struct Sixteen {
  uint64_t halves[2];
};

// Where x(k) lies, of place = 8 k: in a panel, whose rows are 64 bytes, or at x + offsets[k].
struct PanelPlaces {
  const uint8_t* panel;
  const uint8_t* operator()(uint32_t place) const { return panel + 8 * std::size_t{place}; }
};
struct PlanePlaces {
  const uint8_t* x;
  const std::ptrdiff_t* offsets;
  const uint8_t* operator()(uint32_t place) const {
    return x + *reinterpret_cast<const std::ptrdiff_t*>(reinterpret_cast<const char*>(offsets) + place);
  }
};

}  // namespace

// n bytes, by two pieces that overlap.
template <class S>
inline void copy_bytes(const uint8_t* x, uint8_t* y, int n) {
  const auto ends = [=](auto piece) {
    using Piece = decltype(piece);
    Piece first, last;
    __builtin_memcpy(&first, x, sizeof(Piece));
    __builtin_memcpy(&last, x + n - sizeof(Piece), sizeof(Piece));
    __builtin_memcpy(y, &first, sizeof(Piece));
    __builtin_memcpy(y + n - sizeof(Piece), &last, sizeof(Piece));
  };
  if (n >= 16) return ends(Sixteen());
  if (n >= 8) return ends(uint64_t());
  if (n >= 4) return ends(uint32_t());
  for (int i = 0; i < n; ++i) y[i] = x[i];
}

// sum += some pairs, from `pair` on, which moves behind them.
template <class S, class X, int... V>
inline void add_segment(Seq<V...>, int pairs, const uint8_t*& pair, X x, S (&sum)[sizeof...(V)]) {
  for (const uint8_t* end = pair + kPairBytes * pairs; pair != end; pair += kPairBytes) {
    uint16_t place, codes;
    __builtin_memcpy(&place, pair, sizeof place);
    __builtin_memcpy(&codes, pair + 2, sizeof codes);
    const auto *a = x(place), *b = x(place + uint32_t{kPlaceUnit} * pair[4]);
    ((sum[V] = sum[V].add_products(a + S::kPixels * V, b + S::kPixels * V, codes)), ...);
  }
}

// Output rows lie a whole image apart, where the hardware does not foresee them.
constexpr int kPrefetchedRows = 4;

template <class S, class Output>
inline void prefetch_row(const Output& out, int m) {
  constexpr int kLine = 64 / sizeof(*out.y);
  for (int p = 0; p < out.n; p += kLine) __builtin_prefetch(out.y + m * out.stride + p, 1);
  if (!out.residual) return;
  for (int p = 0; p < out.n; p += kLine) __builtin_prefetch(out.residual + m * out.stride + p);
}

// The rule of one row (docs/integers.md).
template <class S>
struct ByteFinish {
  explicit ByteFinish(const ByteOutput& out, int m = 0)
      : rule(out.rules[m]), residual_zero(out.residual_zero), least(out.least), most(out.most) {}
  // residual: of these pixels, or null
  S operator()(S v, const uint8_t* residual) const {
    v = saturating_add(high_product(v, rule.multiplier), rule.bias);
    if (residual) v = saturating_add(v, high_product(S::centred(residual, residual_zero), rule.residual_multiplier));
    return shift_right(v, rule.fraction);
  }
  void store(S v, uint8_t* y, int n) const { v.store_clamped(least, most, y, n); }

  ByteRule rule;  // a copy: y may lie anywhere
  int residual_zero;
  uint8_t least, most;
};

// n of the finished sums of row m to y. Inlined, as a call would take the sums through memory.
template <class S, int... V>
[[gnu::always_inline]] inline void finish_bytes_to(Seq<V...>, const S (&sum)[sizeof...(V)], const ByteOutput& out,
                                                   int m, const uint8_t* residual, uint8_t* y, int n) {
  const ByteFinish<S> finish(out, m);
  const auto finish_at = [&](S v, int at) __attribute__((always_inline)) {
    finish.store(finish(v, residual ? residual + at : nullptr), y + at, n - at);
  };
  ((S::kPixels * V < n ? finish_at(sum[V], S::kPixels * V) : void()), ...);
}

// Row m of the finished sums to its place in y.
template <class S, int... V>
[[gnu::always_inline]] inline void finish_byte_row(Seq<V...> all, const S (&sum)[sizeof...(V)], const ByteOutput& out,
                                                   int m) {
  uint8_t* y = out.y + m * out.stride;
  const uint8_t* residual = out.residual ? out.residual + m * out.stride : nullptr;
  if (out.runs == 1) return finish_bytes_to(all, sum, out, m, residual, y, static_cast<int>(out.n));
  uint8_t apart[kByteTile] = {};  // the residual, and then the output, as far apart as the sums' runs
  if (residual) {
    for (int i = 0; i < out.runs; ++i) copy_bytes<S>(residual + i * out.length, apart + i * out.step, out.length);
    residual = apart;
  }
  finish_bytes_to(all, sum, out, m, residual, apart, kByteTile);
  for (int i = 0; i < out.runs; ++i) copy_bytes<S>(apart + i * out.step, y + i * out.length, out.length);
}

// Row m of the output, of sums in memory.
template <class S, int... V>
inline void finish_sums(Seq<V...> all, const int32_t* sums, const ByteOutput& out, int m) {
  using T = typename S::OfSums;
  const T sum[sizeof...(V)] = {T::load(sums + T::kPixels * V, out.rules[m].shift)...};
  finish_byte_row(all, sum, out, m);
}

template <class S, class X, int... V>
void byte_rows(Seq<V...> all, const PairBlock& block, int rows, X x, int32_t* sums, bool first, const ByteOutput* out) {
  const uint8_t* count = block.counts;
  const uint8_t* pair = block.pairs;
  const int stride = out && first ? 0 : kByteTile;  // sums that are finished at once need no memory of their own
  for (int m = 0; m < rows; ++m, sums += stride) {
    if (out && m + kPrefetchedRows < rows) prefetch_row<S>(*out, m + kPrefetchedRows);
    const int segments = block.segments[m];
    if (out && first && segments <= 1 && out->rules[m].shift == 0) {
      S sum[sizeof...(V)] = {(static_cast<void>(V), S::zero())...};
      if (segments == 1) add_segment(all, *count++, pair, x, sum);
      finish_byte_row(all, sum, *out, m);
      continue;
    }
    if (first && segments == 0) {
      for (int p = 0; p < kByteTile; ++p) sums[p] = 0;
    }
    for (int s = 0; s < segments; ++s) {
      S sum[sizeof...(V)] = {(static_cast<void>(V), S::zero())...};
      add_segment(all, *count++, pair, x, sum);
      if (first && s == 0) {
        (sum[V].store(sums + S::kPixels * V), ...);
      } else {
        (sum[V].add_to(sums + S::kPixels * V), ...);
      }
    }
    if (out) finish_sums<S>(all, sums, *out, m);
  }
}

template <class S>
void byte_block(const PairBlock& block, int rows, const uint8_t* panel, int pixels, int32_t* sums, bool first,
                const ByteOutput* out) {
  if (pixels <= kHalfTile) {
    using H = typename S::Half;
    return byte_rows<H>(SeqTo<kHalfTile / H::kPixels>(), block, rows, PanelPlaces{panel}, sums, first, out);
  }
  byte_rows<S>(SeqTo<kByteTile / S::kPixels>(), block, rows, PanelPlaces{panel}, sums, first, out);
}

template <class S>
void byte_block_in_place(const PairBlock& block, int rows, const uint8_t* x, const std::ptrdiff_t* offsets,
                         int32_t* sums, bool first, const ByteOutput* out) {
  byte_rows<S>(SeqTo<kByteTile / S::kPixels>(), block, rows, PlanePlaces{x, offsets}, sums, first, out);
}

}  // namespace opq
