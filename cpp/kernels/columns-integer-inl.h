// columns-inl.h in integers: acc[m] += columns[k][m] * x[k] for the k with x[k] != 0, two columns at a time, exact.
#pragma once

#include "kernels/column-loops-inl.h"

namespace opq {

template <class C, int... I>
void columns_integer_dense(Seq<I...>, const int8_t* columns, const int16_t* x, std::size_t depth, int32_t* acc) {
  constexpr std::size_t kWidth = C::kRows * sizeof...(I);
  C sum[sizeof...(I)] = {(static_cast<void>(I), C::zero())...};
  for (std::size_t begin = 0; begin < depth; begin += kColumnChunk) {
    const std::size_t end = depth - begin < kColumnChunk ? depth : begin + kColumnChunk;
    std::size_t active[kColumnChunk + kColumnsAhead];
    const std::size_t count = list_columns<C>(x, begin, end, active);
    for (std::size_t i = 0; i < count; i += 2) {
      const int8_t *a = columns + active[i] * kWidth, *b = columns + active[i + 1] * kWidth;
      fetch_column(columns + active[i + kColumnsAhead - 1] * kWidth);
      fetch_column(columns + active[i + kColumnsAhead - 2] * kWidth);
      // Of an odd number, the last column has a partner that counts nothing.
      const int16_t two[2] = {x[active[i]], i + 1 < count ? x[active[i + 1]] : int16_t{0}};
      ((sum[I] = sum[I].add_columns(a + C::kRows * I, b + C::kRows * I, two)), ...);
    }
  }
  (sum[I].store(acc + C::kRows * I), ...);
}

template <class C>
void columns_integer(const int8_t* columns, const int16_t* x, std::size_t depth, int vectors, int32_t* acc) {
  with_vectors<C>(vectors, [=](auto all) { columns_integer_dense<C>(all, columns, x, depth, acc); });
}

// 128 rows of codes of 4 bits, with bytes for activations: acc[m] = sum over k of (half byte - 8) * x[k]. Two columns
// make a pair; four pairs fit 16 bits, 4 * 2 * 15 * 255 = 30600.
template <class N>
void columns_nibbles(const uint8_t* columns, const uint8_t* x, std::size_t depth, int32_t* acc) {
  constexpr std::size_t kLine = 64;
  constexpr int kPairs = 4;
  for (int m = 0; m < N::kRows; ++m) acc[m] = 0;
  int64_t sum_of_x = 0;
  for (std::size_t begin = 0; begin < depth; begin += kColumnChunk) {
    const std::size_t end = depth - begin < kColumnChunk ? depth : begin + kColumnChunk;
    std::size_t active[kColumnChunk + kColumnsAhead];
    const std::size_t count = list_columns<N>(x, begin, end, active);
    for (std::size_t k = begin; k < end; ++k) sum_of_x += x[k];
    for (std::size_t i = 0; i < count;) {
      N sum = N::zero();
      for (int pair = 0; pair < kPairs && i < count; ++pair, i += 2) {
        const uint8_t *a = columns + active[i] * kLine, *b = columns + active[i + 1] * kLine;
        fetch_column(columns + active[i + kColumnsAhead - 2] * kLine);
        fetch_column(columns + active[i + kColumnsAhead - 1] * kLine);
        const uint32_t second = i + 1 < count ? x[active[i + 1]] : 0u;
        sum = sum.add_columns(a, b, static_cast<uint16_t>(x[active[i]] | second << 8));
      }
      sum.add_to(acc);
    }
  }
  for (int m = 0; m < N::kRows; ++m) acc[m] = static_cast<int32_t>(acc[m] - 8 * sum_of_x);
}

template <class C>
void columns_sparse_integer(const SparseColumnBlock& block, const int16_t* x, std::size_t depth, int32_t* acc) {
  const int32_t zero = 1 << (block.bits - 1);
  for_entries<C>(block, x, depth, [acc, zero](uint32_t row, uint32_t code, int32_t x_k) {
    acc[row] += (static_cast<int32_t>(code) - zero) * x_k;
  });
}

}  // namespace opq
