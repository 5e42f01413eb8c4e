// Products of one input vector with a block of output rows, column by column:
//
//   for k: if (x[k] != 0) for m: acc[m] = fma(columns[k][m], x[k], acc[m]);
//
// Walking down the columns keeps the ascending order of k for every output, needs no sum across a register, and skips
// the columns of zero inputs, which after a ReLU are most of them. Skipping changes at most the sign of a zero sum
// (finish-inl.h).
#pragma once

#include "kernels/codes-inl.h"
#include "kernels/column-loops-inl.h"
#include "kernels/kernels.h"
#include "kernels/unroll-inl.h"

namespace opq {

template <class V>
V load_column(const int8_t* p) {
  return V::load_i8(p);
}
template <class V>
V load_column(const float* p) {
  return V::load(p);
}

// columns[k][8 * vectors]
template <class V, class T, int... I>
void columns_dense(Seq<I...>, const T* columns, const float* x, std::size_t depth, float* acc) {
  constexpr std::size_t kWidth = kVector * sizeof...(I);
  V sum[sizeof...(I)];
  ((sum[I] = V::zero()), ...);
  for (std::size_t begin = 0; begin < depth; begin += kColumnChunk) {
    const std::size_t end = depth - begin < kColumnChunk ? depth : begin + kColumnChunk;
    std::size_t active[kColumnChunk + kColumnsAhead];
    const std::size_t count = list_columns<V>(x, begin, end, active);
    for (std::size_t i = 0; i < count; ++i) {
      const T* column = columns + active[i] * kWidth;
      fetch_column(columns + active[i + kColumnsAhead] * kWidth);
      const V x_k = V::set(x[active[i]]);
      ((sum[I] = mul_add(load_column<V>(column + kVector * I), x_k, sum[I])), ...);
    }
  }
  (sum[I].store(acc + kVector * I), ...);
}

template <class V, class T>
void columns(const T* columns, const float* x, std::size_t depth, int vectors, float* acc) {
  with_vectors<V>(vectors, [=](auto all) { columns_dense<V>(all, columns, x, depth, acc); });
}

template <class V>
void columns_sparse_one(const uint16_t* counts, const uint16_t* pairs, const float* x, std::size_t depth, float* acc) {
  for_entries<V>(counts, pairs, x, depth, [acc](uint32_t row, uint32_t code, float x_k) {
    acc[row] = __builtin_fmaf(kCodeValues.value[code], x_k, acc[row]);
  });
}

template <class V>
void columns_sparse_eight(const uint16_t* counts, const uint16_t* pairs, const float* x, std::size_t depth,
                          float* acc) {
  for (std::size_t k = 0; k < depth; ++k) {
    const uint16_t* end = pairs + counts[k];
    const V x_k = V::load(x + k * V::kLanes);
    for (; pairs != end; ++pairs) {
      float* sum = acc + (*pairs & 0xff) * V::kLanes;
      mul_add(V::set(kCodeValues.value[*pairs >> 8]), x_k, V::load(sum)).store(sum);
    }
  }
}

template <class V>
void columns_sparse(const uint16_t* counts, const uint16_t* pairs, const float* x, std::size_t depth, int lanes,
                    float* acc) {
  if (lanes == 1) {
    columns_sparse_one<V>(counts, pairs, x, depth, acc);
  } else {
    columns_sparse_eight<V>(counts, pairs, x, depth, acc);
  }
}

}  // namespace opq
