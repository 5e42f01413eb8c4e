// The dense product of one tile of pixels with one block of the weights' columns:
//
//   acc[m][p] += weights[m / 3][k][m % 3] * panel[k][p],  k ascending
//
// Three rows and as many vectors of pixels at a time as the registers hold sums for (V::kDenseVectors). Four are enough
// for the multiply-adds to be the bound: 12 sums + 3 weights + 1 panel vector are the 16 registers of AVX2, and 7 loads
// feed 12 multiply-adds. A tile of 7 vectors is then done as 4 + 3. A weight that is a code takes one more load, of its
// float: there is room for it, and no copy of the weights as floats to make for every tile.
#pragma once

#include "kernels/codes-inl.h"
#include "kernels/kernels.h"
#include "kernels/unroll-inl.h"

namespace opq {

inline float value_of(float weight) { return weight; }
inline float value_of(int8_t code) { return (kCodeValues.value + 128)[std::ptrdiff_t{code}]; }

template <class V>
inline void mul_add_column(V x, V w0, V w1, V w2, V& sum0, V& sum1, V& sum2) {
  sum0 = mul_add(w0, x, sum0);
  sum1 = mul_add(w1, x, sum1);
  sum2 = mul_add(w2, x, sum2);
}

// weights[k][3], panel[k][kTile], acc[3][kTile]
template <class V, class W, int... P>
void dense_rows(Seq<P...>, const W* weights, int depth, const float* panel, float* acc, bool first) {
  V sum0[sizeof...(P)], sum1[sizeof...(P)], sum2[sizeof...(P)];
  if (first) {
    ((sum0[P] = sum1[P] = sum2[P] = V::zero()), ...);
  } else {
    ((sum0[P] = V::load(acc + kVector * P)), ...);
    ((sum1[P] = V::load(acc + kTile + kVector * P)), ...);
    ((sum2[P] = V::load(acc + 2 * kTile + kVector * P)), ...);
  }
  for (int k = 0; k < depth; ++k, weights += kDenseRows, panel += kTile) {
    const V w0 = V::set(value_of(weights[0])), w1 = V::set(value_of(weights[1])), w2 = V::set(value_of(weights[2]));
    (mul_add_column(V::load(panel + kVector * P), w0, w1, w2, sum0[P], sum1[P], sum2[P]), ...);
  }
  (sum0[P].store(acc + kVector * P), ...);
  (sum1[P].store(acc + kTile + kVector * P), ...);
  (sum2[P].store(acc + 2 * kTile + kVector * P), ...);
}

template <class V, class W>
void dense_rows(int vectors, const W* weights, int depth, const float* panel, float* acc, bool first) {
  switch (vectors) {
    case 1:
      return dense_rows<V>(SeqTo<1>(), weights, depth, panel, acc, first);
    case 2:
      return dense_rows<V>(SeqTo<2>(), weights, depth, panel, acc, first);
    case 3:
      return dense_rows<V>(SeqTo<3>(), weights, depth, panel, acc, first);
    case 4:
      return dense_rows<V>(SeqTo<4>(), weights, depth, panel, acc, first);
  }
  if constexpr (V::kDenseVectors == 7) {
    switch (vectors) {
      case 5:
        return dense_rows<V>(SeqTo<5>(), weights, depth, panel, acc, first);
      case 6:
        return dense_rows<V>(SeqTo<6>(), weights, depth, panel, acc, first);
      case 7:
        return dense_rows<V>(SeqTo<7>(), weights, depth, panel, acc, first);
    }
  }
}

// weights[k][3], of which the first ones count; panel[k][kTile], acc[kTile]
template <class V, class W, int... P>
void one_dense_row(Seq<P...>, const W* weights, int depth, const float* panel, float* acc, bool first) {
  V sum[] = {(first ? V::zero() : V::load(acc + kVector * P))...};
  for (int k = 0; k < depth; ++k, weights += kDenseRows, panel += kTile) {
    const V w = V::set(value_of(weights[0]));
    ((sum[P] = mul_add(w, V::load(panel + kVector * P), sum[P])), ...);
  }
  (sum[P].store(acc + kVector * P), ...);
}

template <class V, int most, class W>
void one_dense_row_of(int vectors, const W* weights, int depth, const float* panel, float* acc, bool first) {
  if constexpr (most > 1) {
    if (vectors < most) return one_dense_row_of<V, most - 1>(vectors, weights, depth, panel, acc, first);
  }
  one_dense_row<V>(SeqTo<most>(), weights, depth, panel, acc, first);
}

// One or two rows that are left of a number that is not a multiple of three go one by one: the loads are the bound
// then, and take less than half the time of three rows.
template <class V, class W>
void dense_block(const DenseBlock<W>& block, int rows, const float* panel, float* acc, int vectors, bool first) {
  static_assert(kDenseRows == 3 && (V::kDenseVectors == 4 || V::kDenseVectors == 7));
  const int left = vectors > V::kDenseVectors ? (vectors + 1) / 2 : vectors, right = vectors - left;
  const W* weights = block.weights;
  for (; rows >= kDenseRows; rows -= kDenseRows, acc += kDenseRows * kTile, weights += kDenseRows * block.depth) {
    dense_rows<V>(left, weights, block.depth, panel, acc, first);
    dense_rows<V>(right, weights, block.depth, panel + kVector * left, acc + kVector * left, first);
  }
  for (; rows > 0; --rows, acc += kTile, ++weights) {
    one_dense_row_of<V, kTile / kVector>(vectors, weights, block.depth, panel, acc, first);
  }
}

}  // namespace opq
