// Products of small integer codes with 8-bit activations, dense, on one tile of 64 pixels:
//
//   sums[m][p] += codes[m][k] * x[k][p]
//
//   panel  [k / 4][64 pixels][4]     four inputs of a pixel beside each other: one instruction adds their products
//   codes  [m / 4][k / 4][4 rows][4]
//
// The sums of four rows stay in registers over all k. Codes that fill up a row of four, in either direction, are 0.
#pragma once

#include "kernels/bytes-inl.h"
#include "kernels/integer-panel-inl.h"
#include "kernels/kernels.h"
#include "kernels/unroll-inl.h"

namespace opq {

template <class Q, bool wide>
inline Q add_quads(Q sum, const uint8_t* x, const int8_t* codes) {
  if constexpr (wide) return sum.add_wide_quads(x, codes);
  return sum.add_quads(x, codes);
}

template <class Q, bool wide, int... V>
inline void quad_rows(Seq<V...>, const int8_t* codes, int quads, const uint8_t* panel, int32_t* sums, bool first) {
  Q s0[sizeof...(V)], s1[sizeof...(V)], s2[sizeof...(V)], s3[sizeof...(V)];
  const auto at = [=](int row, int v) { return sums + row * kByteTile + v * Q::kPixels; };
  ((s0[V] = first ? Q::zero() : Q::load(at(0, V))), ...);
  ((s1[V] = first ? Q::zero() : Q::load(at(1, V))), ...);
  ((s2[V] = first ? Q::zero() : Q::load(at(2, V))), ...);
  ((s3[V] = first ? Q::zero() : Q::load(at(3, V))), ...);
  for (int k = 0; k < quads; ++k, codes += 16, panel += 4 * kByteTile) {
    ((s0[V] = add_quads<Q, wide>(s0[V], panel + 4 * Q::kPixels * V, codes)), ...);
    ((s1[V] = add_quads<Q, wide>(s1[V], panel + 4 * Q::kPixels * V, codes + 4)), ...);
    ((s2[V] = add_quads<Q, wide>(s2[V], panel + 4 * Q::kPixels * V, codes + 8)), ...);
    ((s3[V] = add_quads<Q, wide>(s3[V], panel + 4 * Q::kPixels * V, codes + 12)), ...);
  }
  (s0[V].store(at(0, V)), ...);
  (s1[V].store(at(1, V)), ...);
  (s2[V].store(at(2, V)), ...);
  (s3[V].store(at(3, V)), ...);
}

// The first `count` of so many vectors of pixels.
template <class Q, bool wide, int most>
inline void quad_vectors(int count, const int8_t* codes, int quads, const uint8_t* panel, int32_t* sums, bool first) {
  if constexpr (most > 1) {
    if (count < most) return quad_vectors<Q, wide, most - 1>(count, codes, quads, panel, sums, first);
  }
  quad_rows<Q, wide>(SeqTo<most>(), codes, quads, panel, sums, first);
}

// Vectors without a pixel that counts are left out: their sums are 0.
// wide: codes beyond 64 in absolute value, whose products take more than 16 bits two by two.
// With `out`, the last block, the rows are finished, and their sums not kept.
template <class S, class Q, bool wide>
void quad_block(const int8_t* codes, int rows, int quads, const uint8_t* panel, int pixels, int32_t* sums, bool first,
                const ByteOutput* out) {
  const int vectors = (pixels + Q::kPixels - 1) / Q::kPixels;
  const int step = out && first ? 0 : 4 * kByteTile;  // sums that are finished at once need no memory of their own
  for (int m = 0; m < rows; m += 4, codes += 16 * quads, sums += step) {
    for (int i = m + 4; out && i < m + 8 && i < rows; ++i) prefetch_row<S>(*out, i);
    for (int v = 0; v < vectors; v += Q::kAtOnce) {
      const int p = v * Q::kPixels;
      quad_vectors<Q, wide, Q::kAtOnce>(vectors - v, codes, quads, panel + 4 * p, sums + p, first);
    }
    for (int i = 0; first && i < 4; ++i) {
      for (int v = vectors; v < kByteTile / Q::kPixels; ++v) Q::zero().store(sums + i * kByteTile + v * Q::kPixels);
    }
    for (int i = 0; out && i < 4 && m + i < rows; ++i) {
      finish_sums<S>(SeqTo<kByteTile / S::kPixels>(), sums + i * kByteTile, *out, m + i);
    }
  }
}

// As pack_integers, four rows interleaved, 16 pixels at a time: those beyond a run's end are overwritten by the next
// run, or by the next rows. What fills up the last four is any row.
template <class Q>
void pack_quads(const uint8_t* x, const std::ptrdiff_t* offsets, int depth, const IntegerRun* runs, int count,
                uint8_t* panel) {
  for (int k = 0; k < depth; k += 4, panel += 4 * kByteTile) {
    const uint8_t* rows[4];
    for (int j = 0; j < 4; ++j) rows[j] = x + offsets[k + j < depth ? k + j : k];
    for (int i = 0; i < count; ++i) {
      const int n = (i + 1 < count ? runs[i + 1].dst : kByteTile) - runs[i].dst;
      uint8_t* y = panel + 4 * runs[i].dst;
      for (int p = 0; p < n; p += kChunk) Q::interleave(rows, runs[i].src + p, y + 4 * p);
    }
  }
}

}  // namespace opq
