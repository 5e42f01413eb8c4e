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

// By code + 2^(bits - 1).
inline const float* code_values(int bits) { return kCodeValues.value + 128 - (1 << (bits - 1)); }

template <class V>
void columns_sparse_one(const SparseColumnBlock& block, const float* x, std::size_t depth, float* acc) {
  for_entries<V>(block, x, depth, [acc, values = code_values(block.bits)](uint32_t row, uint32_t code, float x_k) {
    acc[row] = __builtin_fmaf(values[code], x_k, acc[row]);
  });
}

template <class V>
void columns_sparse_eight(const SparseColumnBlock& block, const float* x, std::size_t depth, float* acc) {
  const float* values = code_values(block.bits);
  const uint32_t mask = (1u << block.bits) - 1;
  for (std::size_t k = 0; k < depth; ++k) {
    const V x_k = V::load(x + k * V::kLanes);
    for (uint32_t i = block.begin[k]; i < block.begin[k + 1]; ++i) {
      float* sum = acc + (block.entries[i] >> block.bits) * V::kLanes;
      mul_add(V::set(values[block.entries[i] & mask]), x_k, V::load(sum)).store(sum);
    }
  }
}

template <class V>
void columns_sparse(const SparseColumnBlock& block, const float* x, std::size_t depth, int lanes, float* acc) {
  if (lanes == 1) {
    columns_sparse_one<V>(block, x, depth, acc);
  } else {
    columns_sparse_eight<V>(block, x, depth, acc);
  }
}

}  // namespace opq
