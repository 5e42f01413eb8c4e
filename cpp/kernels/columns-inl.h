// Products of one input vector with a block of output rows, column by column:
//
//   for k: if (x[k] != 0) for m: acc[m] = fma(columns[k][m], x[k], acc[m]);
//
// Walking down the columns keeps the ascending order of k for every output, needs no sum across a register, and skips
// the columns of zero inputs, which after a ReLU are most of them. Skipping changes at most the sign of a zero sum
// (finish-inl.h).
#pragma once

#include "kernels/codes-inl.h"
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

// columns[k][8 * vectors]. The columns to visit are listed first, some at a time, without a branch that depends on x.
// The list also tells what to prefetch: the hardware follows a stream, but not one with gaps.
template <class V, class T, int... I>
void columns_dense(Seq<I...>, const T* columns, const float* x, std::size_t depth, float* acc) {
  constexpr std::size_t kChunk = 512, kAhead = 24, kWidth = kVector * sizeof...(I);
  V sum[sizeof...(I)];
  ((sum[I] = V::zero()), ...);
  for (std::size_t begin = 0; begin < depth; begin += kChunk) {
    const std::size_t end = depth - begin < kChunk ? depth : begin + kChunk;
    std::size_t active[kChunk + kAhead];
    std::size_t count = 0;
    for (std::size_t k = begin; k < end; ++k) {
      active[count] = k;
      count += x[k] != 0;
    }
    for (std::size_t i = 0; i < kAhead; ++i) active[count + i] = end - 1;
    for (std::size_t i = 0; i < count; ++i) {
      const T* column = columns + active[i] * kWidth;
      __builtin_prefetch(columns + active[i + kAhead] * kWidth);
      const V x_k = V::set(x[active[i]]);
      ((sum[I] = mul_add(load_column<V>(column + kVector * I), x_k, sum[I])), ...);
    }
  }
  (sum[I].store(acc + kVector * I), ...);
}

template <class V, class T>
void columns(const T* columns, const float* x, std::size_t depth, int vectors, float* acc) {
  switch (vectors) {
    case 1:
      return columns_dense<V>(SeqTo<1>(), columns, x, depth, acc);
    case 2:
      return columns_dense<V>(SeqTo<2>(), columns, x, depth, acc);
    case 3:
      return columns_dense<V>(SeqTo<3>(), columns, x, depth, acc);
    case 4:
      return columns_dense<V>(SeqTo<4>(), columns, x, depth, acc);
    case 5:
      return columns_dense<V>(SeqTo<5>(), columns, x, depth, acc);
    case 6:
      return columns_dense<V>(SeqTo<6>(), columns, x, depth, acc);
    case 7:
      return columns_dense<V>(SeqTo<7>(), columns, x, depth, acc);
    case 8:
      return columns_dense<V>(SeqTo<8>(), columns, x, depth, acc);
  }
}

// Two pairs at a time, as in sparse-inl.h. Rows of a column differ, so the two sums are independent.
template <class V>
void columns_sparse_one(const uint16_t* counts, const uint16_t* pairs, const float* x, std::size_t depth, float* acc) {
  const auto add = [acc](uint32_t row, uint32_t code, float x_k) {
    acc[row] = __builtin_fmaf(kCodeValues.value[code], x_k, acc[row]);
  };
  for (std::size_t k = 0; k < depth; ++k) {
    const uint16_t* pair = pairs;
    pairs += counts[k];
    const float x_k = x[k];
    if (x_k == 0) continue;
    for (; pairs - pair >= 2; pair += 2) {
      uint32_t two;
      __builtin_memcpy(&two, pair, sizeof two);
      add(two & 0xff, two >> 8 & 0xff, x_k);
      add(two >> 16 & 0xff, two >> 24, x_k);
    }
    if (pair != pairs) add(*pair & 0xff, *pair >> 8, x_k);
  }
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
