// Products of small integer codes with 8-bit activations, dense, on one tile of 64 pixels:
//
//   sums[m][p] += codes[m][k] * x[k][p]
//
//   panel  [k / 4][64 pixels][4]     four inputs of a pixel beside each other: one instruction adds their products
//   codes  [m / 4][k / 4][4 rows][4]
//
// Codes that fill up a row of four, in either direction, are 0.
//
// With dot products an instruction adds four products in 32 bits: the sums of four rows stay in registers over all k.
// Without, vpmaddubsw adds two and two of them in 16 bits, and these sums are added up in 16 bits for a turn of several
// quads before they go on in 32: one multiplication per quad instead of two. In a turn, the positive codes that are
// added to one another, and the negative ones, add up to 128 at the most:
//
//   255 * 128 <= 32767
//
// Where the codes of a turn add up to more, the largest ones are cut, and what is left of them is added afterwards, for
// the quads that have any: `large`, few where codes are small (runtime/quad_split.h decides how long turns are).
#pragma once

#include "kernels/bytes-inl.h"
#include "kernels/compensation-inl.h"
#include "kernels/integer-panel-inl.h"
#include "kernels/kernels.h"
#include "kernels/unroll-inl.h"

namespace opq {

// sum[row] += codes of four rows * one quad of V vectors of pixels. A set may take each row out of the codes of four.
template <class Q, int... V>
inline void add_quad(Seq<V...>, const int8_t* codes, const uint8_t* x, Q (&s0)[sizeof...(V)], Q (&s1)[sizeof...(V)],
                     Q (&s2)[sizeof...(V)], Q (&s3)[sizeof...(V)]) {
  if constexpr (requires { &Q::template add_quads_of_row<0>; }) {
    ((s0[V] = s0[V].template add_quads_of_row<0>(x + 4 * Q::kPixels * V, codes)), ...);
    ((s1[V] = s1[V].template add_quads_of_row<1>(x + 4 * Q::kPixels * V, codes)), ...);
    ((s2[V] = s2[V].template add_quads_of_row<2>(x + 4 * Q::kPixels * V, codes)), ...);
    ((s3[V] = s3[V].template add_quads_of_row<3>(x + 4 * Q::kPixels * V, codes)), ...);
  } else {
    ((s0[V] = s0[V].add_quads(x + 4 * Q::kPixels * V, codes)), ...);
    ((s1[V] = s1[V].add_quads(x + 4 * Q::kPixels * V, codes + 4)), ...);
    ((s2[V] = s2[V].add_quads(x + 4 * Q::kPixels * V, codes + 8)), ...);
    ((s3[V] = s3[V].add_quads(x + 4 * Q::kPixels * V, codes + 12)), ...);
  }
}

// 32-bit sums of four rows, from memory and back.
template <class Q, int... V>
inline void load_rows(Seq<V...>, const int32_t* sums, First<Q> first, Q (&s0)[sizeof...(V)], Q (&s1)[sizeof...(V)],
                      Q (&s2)[sizeof...(V)], Q (&s3)[sizeof...(V)]) {
  const auto at = [=](int row, int v) {
    const int32_t* from = sums + row * kByteTile + v * Q::kPixels;
    if constexpr (kIsCompensated<Q>) {
      return first.begin(row, from);
    } else {
      return first ? Q::zero() : Q::load(from);
    }
  };
  ((s0[V] = at(0, V)), ...);
  ((s1[V] = at(1, V)), ...);
  ((s2[V] = at(2, V)), ...);
  ((s3[V] = at(3, V)), ...);
}
template <class Q, int... V>
inline void store_rows(Seq<V...>, int32_t* sums, const Q (&s0)[sizeof...(V)], const Q (&s1)[sizeof...(V)],
                       const Q (&s2)[sizeof...(V)], const Q (&s3)[sizeof...(V)]) {
  const auto at = [=](int row, int v) { return sums + row * kByteTile + v * Q::kPixels; };
  (s0[V].store(at(0, V)), ...);
  (s1[V].store(at(1, V)), ...);
  (s2[V].store(at(2, V)), ...);
  (s3[V].store(at(3, V)), ...);
}

// Every quad in 32 bits.
template <class Q, int... V>
inline void quad_rows(Seq<V...> all, const int8_t* codes, int quads, const uint8_t* panel, int32_t* sums,
                      First<Q> first) {
  Q s0[sizeof...(V)], s1[sizeof...(V)], s2[sizeof...(V)], s3[sizeof...(V)];
  load_rows<Q>(all, sums, first, s0, s1, s2, s3);
  for (int k = 0; k < quads; ++k, codes += 16, panel += 4 * kByteTile) add_quad(all, codes, panel, s0, s1, s2, s3);
  store_rows(all, sums, s0, s1, s2, s3);
}

// sums of one row += those of a turn, or = those of the first one.
template <class Q, int... V>
inline void end_turn(Seq<V...>, const typename Q::Short (&turn)[sizeof...(V)], int32_t* sums, bool is_first) {
  if (is_first) {
    (Q::zero().add(turn[V]).store(sums + Q::kPixels * V), ...);
  } else {
    (Q::load(sums + Q::kPixels * V).add(turn[V]).store(sums + Q::kPixels * V), ...);
  }
}

// Turn by turn; the last one may be shorter. The loop over a turn is not unrolled: the compiler would change the order
// of its additions, and run out of registers.
template <class Q, int... V>
inline void quad_rows_in_turns(Seq<V...> all, const int8_t* codes, int quads, int turn, const uint8_t* panel,
                               int32_t* sums, First<Q> first) {
  using Short = typename Q::Short;
  bool is_first = false;
  if constexpr (kIsCompensated<Q>) {
    for (int row = 0; row < 4; ++row) {
      const auto at = [=](int v) { return sums + row * kByteTile + Q::kPixels * v; };
      (first.begin(row, at(V)).store(at(V)), ...);
    }
  } else {
    is_first = first;
  }
  for (int begin = 0; begin < quads; begin += turn) {
    const auto begin_of = [=](int row, int v) { return Short::of_quads(panel + 4 * Q::kPixels * v, codes + 4 * row); };
    Short s0[] = {begin_of(0, V)...}, s1[] = {begin_of(1, V)...}, s2[] = {begin_of(2, V)...},
          s3[] = {begin_of(3, V)...};
    codes += 16, panel += 4 * kByteTile;
    const int count = quads - begin < turn ? quads - begin : turn;
    for (int i = 1; i < count; ++i, codes += 16, panel += 4 * kByteTile) add_quad(all, codes, panel, s0, s1, s2, s3);
    end_turn<Q>(all, s0, sums, is_first);
    end_turn<Q>(all, s1, sums + kByteTile, is_first);
    end_turn<Q>(all, s2, sums + 2 * kByteTile, is_first);
    end_turn<Q>(all, s3, sums + 3 * kByteTile, is_first);
    is_first = false;
    asm volatile("" : : "r"(sums) : "memory");  // or the compiler keeps sums in registers, which the turn needs
  }
}

// Turns of two quads, whose ends are half of the work: sums stay in registers.
template <class Q, int... V>
inline void quad_rows_by_twos(Seq<V...> all, const int8_t* codes, int quads, const uint8_t* panel, int32_t* sums,
                              First<Q> first) {
  Q s0[sizeof...(V)], s1[sizeof...(V)], s2[sizeof...(V)], s3[sizeof...(V)];
  load_rows<Q>(all, sums, first, s0, s1, s2, s3);
  const auto add_two = [&](Q& sum, int row, int v) {
    const uint8_t* x = panel + 4 * Q::kPixels * v;
    sum = sum.add(Q::Short::of_quads(x, codes + 4 * row).add_quads(x + 4 * kByteTile, codes + 16 + 4 * row));
  };
  for (int k = 0; k + 2 <= quads; k += 2, codes += 32, panel += 8 * kByteTile) {
    (add_two(s0[V], 0, V), ...);
    (add_two(s1[V], 1, V), ...);
    (add_two(s2[V], 2, V), ...);
    (add_two(s3[V], 3, V), ...);
  }
  if (quads % 2 != 0) add_quad(all, codes, panel, s0, s1, s2, s3);
  store_rows(all, sums, s0, s1, s2, s3);
}

template <class Q, int vectors>
inline void quad_rows_of(const QuadBlock& block, const int8_t* codes, const uint8_t* panel, int32_t* sums,
                         First<Q> first) {
  if constexpr (!Q::kHasDotProducts) {
    if (block.turn == 2) return quad_rows_by_twos<Q>(SeqTo<vectors>(), codes, block.quads, panel, sums, first);
    if (block.turn != 1) {
      return quad_rows_in_turns<Q>(SeqTo<vectors>(), codes, block.quads, block.turn, panel, sums, first);
    }
  }
  quad_rows<Q>(SeqTo<vectors>(), codes, block.quads, panel, sums, first);
}

// The first `count` of so many vectors of pixels.
template <class Q, int most>
inline void quad_vectors(int count, const QuadBlock& block, const int8_t* codes, const uint8_t* panel, int32_t* sums,
                         First<Q> first) {
  if constexpr (most > 1) {
    if (count < most) return quad_vectors<Q, most - 1>(count, block, codes, panel, sums, first);
  }
  quad_rows_of<Q, most>(block, codes, panel, sums, first);
}

// sums of one row += its large quads, two at a time: an even number of them.
template <class Q, int... V>
inline void add_large_quads(Seq<V...>, const LargeQuad* large, int count, const uint8_t* panel, int32_t* sums) {
  Q sum[sizeof...(V)] = {Q::load(sums + Q::kPixels * V)...};
  [[maybe_unused]] int32_t sum_of_codes = 0;
  for (int i = 0; i < count; i += 2, large += 2) {
    const uint8_t *x = panel + 4 * kByteTile * std::size_t{large[0].quad},
                  *y = panel + 4 * kByteTile * std::size_t{large[1].quad};
    const auto products_at = [=](int p) {
      return Q::Short::of_quads(x + 4 * p, large[0].codes).add_quads(y + 4 * p, large[1].codes);
    };
    ((sum[V] = sum[V].add(products_at(Q::kPixels * V))), ...);
    if constexpr (kIsCompensated<Q>) {
      const int8_t *a = large[0].codes, *b = large[1].codes;
      sum_of_codes += a[0] + a[1] + a[2] + a[3] + b[0] + b[1] + b[2] + b[3];
    }
  }
  if constexpr (kIsCompensated<Q>) ((sum[V] = sum[V].plus(Q::kTaken * sum_of_codes)), ...);
  (sum[V].store(sums + Q::kPixels * V), ...);
}

// Vectors without a pixel that counts are left out: their sums are 0, or those of large quads alone.
// With `out`, the last block, the rows are finished, and their sums not kept.
template <class S, class Q>
void quad_block(const QuadBlock& block, int rows, const uint8_t* panel, int pixels, int32_t* sums, bool first,
                const ByteOutput* out) {
  const int vectors = (pixels + Q::kPixels - 1) / Q::kPixels;
  const int step = out && first ? 0 : 4 * kByteTile;  // sums that are finished at once need no memory of their own
  const int8_t* codes = block.codes;
  for (int m = 0; m < rows; m += 4, codes += 16 * block.quads, sums += step) {
    for (int i = m + 4; out && i < m + 8 && i < rows; ++i) prefetch_row<S>(*out, i);
    const First<Q> first_of_rows = first_of<Q>(first, codes, block.quads);
    for (int v = 0; v < vectors; v += Q::kAtOnce) {
      const int p = v * Q::kPixels;
      quad_vectors<Q, Q::kAtOnce>(vectors - v, block, codes, panel + 4 * p, sums + p, first_of_rows);
    }
    for (int i = 0; first && i < 4; ++i) {
      for (int v = vectors; v < kByteTile / Q::kPixels; ++v) Q::zero().store(sums + i * kByteTile + v * Q::kPixels);
    }
    for (int i = 0; i < 4 && m + i < rows; ++i) {
      const uint32_t begin = block.large_begin[m + i], count = block.large_begin[m + i + 1] - begin;
      if constexpr (!Q::kHasDotProducts) {
        if (count != 0) {
          add_large_quads<Q>(SeqTo<kByteTile / Q::kPixels>(), block.large + begin, static_cast<int>(count), panel,
                             sums + i * kByteTile);
        }
      }
      if (out) finish_sums<S>(SeqTo<kByteTile / S::kPixels>(), sums + i * kByteTile, *out, m + i);
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
