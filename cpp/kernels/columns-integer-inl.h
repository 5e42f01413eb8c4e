// columns-inl.h in integers: acc[m] += columns[k][m] * x[k] for the k with x[k] != 0, two columns at a time, exact.
#pragma once

#include "kernels/kernels.h"
#include "kernels/unroll-inl.h"

namespace opq {

template <class C, int... I>
void columns_integer_dense(Seq<I...>, const int8_t* columns, const int16_t* x, std::size_t depth, int32_t* acc) {
  constexpr std::size_t kChunk = 512, kAhead = 24, kWidth = C::kRows * sizeof...(I);
  C sum[sizeof...(I)] = {(static_cast<void>(I), C::zero())...};
  for (std::size_t begin = 0; begin < depth; begin += kChunk) {
    const std::size_t end = depth - begin < kChunk ? depth : begin + kChunk;
    std::size_t active[kChunk + kAhead];
    int16_t values[kChunk + 1];
    std::size_t count = 0;
    for (std::size_t k = begin; k < end; ++k) {
      active[count] = k;
      values[count] = x[k];
      count += x[k] != 0;
    }
    for (std::size_t i = 0; i < kAhead; ++i) active[count + i] = end - 1;
    values[count] = 0;  // of an odd number, the last column has a partner that counts nothing
    for (std::size_t i = 0; i < count; i += 2) {
      const int8_t *a = columns + active[i] * kWidth, *b = columns + active[i + 1] * kWidth;
      __builtin_prefetch(columns + active[i + kAhead - 1] * kWidth);
      __builtin_prefetch(columns + active[i + kAhead - 2] * kWidth);
      ((sum[I] = sum[I].add_columns(a + C::kRows * I, b + C::kRows * I, values + i)), ...);
    }
  }
  (sum[I].store(acc + C::kRows * I), ...);
}

template <class C>
void columns_integer(const int8_t* columns, const int16_t* x, std::size_t depth, int vectors, int32_t* acc) {
  switch (vectors) {
    case 1:
      return columns_integer_dense<C>(SeqTo<1>(), columns, x, depth, acc);
    case 2:
      return columns_integer_dense<C>(SeqTo<2>(), columns, x, depth, acc);
    case 3:
      return columns_integer_dense<C>(SeqTo<3>(), columns, x, depth, acc);
    case 4:
      return columns_integer_dense<C>(SeqTo<4>(), columns, x, depth, acc);
    case 5:
      return columns_integer_dense<C>(SeqTo<5>(), columns, x, depth, acc);
    case 6:
      return columns_integer_dense<C>(SeqTo<6>(), columns, x, depth, acc);
    case 7:
      return columns_integer_dense<C>(SeqTo<7>(), columns, x, depth, acc);
    case 8:
      return columns_integer_dense<C>(SeqTo<8>(), columns, x, depth, acc);
  }
}

// 128 rows of codes of 4 bits, with bytes for activations: acc[m] = sum over k of (half byte - 8) * x[k]. Two columns
// make a pair; four pairs fit 16 bits, 4 * 2 * 15 * 255 = 30600.
template <class N>
void columns_nibbles(const uint8_t* columns, const uint8_t* x, std::size_t depth, int32_t* acc) {
  constexpr std::size_t kChunk = 512, kAhead = 16, kLine = 64;
  constexpr int kPairs = 4;
  for (int m = 0; m < N::kRows; ++m) acc[m] = 0;
  int64_t sum_of_x = 0;
  for (std::size_t begin = 0; begin < depth; begin += kChunk) {
    const std::size_t end = depth - begin < kChunk ? depth : begin + kChunk;
    std::size_t active[kChunk + kAhead];
    std::size_t count = 0;
    for (std::size_t k = begin; k < end; ++k) {
      active[count] = k;
      count += x[k] != 0;
      sum_of_x += x[k];
    }
    for (std::size_t i = 0; i < kAhead; ++i) active[count + i] = end - 1;
    for (std::size_t i = 0; i < count;) {
      N sum = N::zero();
      for (int pair = 0; pair < kPairs && i < count; ++pair, i += 2) {
        const uint8_t *a = columns + active[i] * kLine, *b = columns + active[i + 1] * kLine;
        __builtin_prefetch(columns + active[i + kAhead - 2] * kLine);
        __builtin_prefetch(columns + active[i + kAhead - 1] * kLine);
        const uint32_t second = i + 1 < count ? x[active[i + 1]] : 0u;
        sum = sum.add_columns(a, b, static_cast<uint16_t>(x[active[i]] | second << 8));
      }
      sum.add_to(acc);
    }
  }
  for (int m = 0; m < N::kRows; ++m) acc[m] = static_cast<int32_t>(acc[m] - 8 * sum_of_x);
}

// Two pairs at a time, as in columns-inl.h.
template <class C>
const uint16_t* columns_sparse_integer(const uint16_t* counts, const uint16_t* pairs, const int16_t* x,
                                       std::size_t depth, int32_t* acc) {
  const auto add = [acc](uint32_t row, uint32_t code, int32_t x_k) {
    acc[row] += (static_cast<int32_t>(code) - 128) * x_k;
  };
  for (std::size_t k = 0; k < depth; ++k) {
    const uint16_t* pair = pairs;
    pairs += counts[k];
    const int32_t x_k = x[k];
    if (x_k == 0) continue;
    for (; pairs - pair >= 2; pair += 2) {
      uint32_t two;
      __builtin_memcpy(&two, pair, sizeof two);
      add(two & 0xff, two >> 8 & 0xff, x_k);
      add(two >> 16 & 0xff, two >> 24, x_k);
    }
    if (pair != pairs) add(*pair & 0xff, *pair >> 8, x_k);
  }
  return pairs;
}

}  // namespace opq
