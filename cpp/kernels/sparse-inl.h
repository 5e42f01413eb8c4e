// The sparse codebook product of one tile of pixels with one block of the weights' columns:
//
//   acc[m][p] += code * panel[k][p]     for the nonzeros (k, code) of row m, k ascending
//
//   for m: for (k, code) in row m: for p: acc[m][p] = fma(code, panel[k][p], acc[m][p]);
//
//   order   m0 m1 m2 ...                                  one byte per row
//   counts  c0 c1 c2 ...                                  one byte per row
//   pairs   k code k code ... | k code ... | k code ...   k + 256 * (code + 128): c0 pairs of row m0, c1 of row m1, ...
//
// The pixels of a row stay in registers over all its nonzeros, so one nonzero costs a broadcast and a fused
// multiply-add from memory per 8 pixels. A wide tile (7 registers) spreads the cost of the broadcast, and hides the
// latency of the multiply-adds, which may not be split into several chains: their order is part of the result. The
// panel lies in the L1 cache.
//
// `order` lets the packer sort rows by count. The processor then foresees where a row's loop ends; with some 10
// nonzeros per row and block, a wrong guess for every row would take a fifth of the time.
#pragma once

#include "kernels/codes-inl.h"
#include "kernels/finish-inl.h"
#include "kernels/kernels.h"
#include "kernels/unroll-inl.h"

namespace opq {

// sum[p] += code * panel[k][p] for one pair, given as k + 256 * (code + 128). A call would take the
// sums through memory.
template <class V, int... P>
[[gnu::always_inline]] inline void add_pair(Seq<P...>, uint32_t pair, const float* panel, V (&sum)[sizeof...(P)]) {
  const float* x = panel + (pair & 0xff) * kTile;
  const V weight = V::set(kCodeValues.value[pair >> 8]);
  ((sum[P] = mul_add(weight, V::load(x + kVector * P), sum[P])), ...);
}

// Where the sums of a row go: back to acc, or finished to the output.
template <class V>
struct ToAcc {
  float* acc;

  void prefetch(int) const {}
  template <int... P>
  void store(Seq<P...>, int m, const V (&sum)[sizeof...(P)]) const {
    (sum[P].store(acc + m * kTile + kVector * P), ...);
  }
};

template <class V, class Act>
struct ToOutput {
  RowOutput output;
  Act act;

  // Output rows lie a whole image apart, where the hardware does not foresee them.
  void prefetch(int m) const {
    for (int p = 0; p < output.n; p += 16) __builtin_prefetch(output.y + m * output.stride + p, 1);
    if (!output.residual) return;
    for (int p = 0; p < output.n; p += 16) __builtin_prefetch(output.residual + m * output.stride + p);
  }
  template <int... P>
  void store(Seq<P...>, int m, const V (&sum)[sizeof...(P)]) const {
    constexpr int kLast = sizeof...(P) - 1;
    const V scale = V::set(output.scale ? output.scale[m] : 1.0f), bias = V::set(output.bias ? output.bias[m] : 0.0f);
    const float* residual = output.residual ? output.residual + m * output.stride : nullptr;
    float* y = output.y + m * output.stride;
    (store_vector<P == kLast>(finish(sum[P], scale, bias), residual ? residual + kVector * P : nullptr, y + kVector * P,
                              output.n - kVector * P),
     ...);
  }
  template <bool last>
  void store_vector(V v, const float* residual, float* y, int n) const {
    if constexpr (last) {
      store_finished(v, act, residual, y, n);
    } else {
      store_finished(v, act, residual, y);
    }
  }
};

constexpr int kPrefetchRows = 3;  // a row takes some 40 to 80 cycles, a line from the L3 cache as long

// Reads two pairs at a time as one number: byte loads would compete with the panel's vectors for the two load ports.
template <class V, class To, int... P>
void sparse_rows(Seq<P...> pixels, const SparseBlock& block, int rows, const float* panel, const float* acc, bool first,
                 const To& to) {
  const uint16_t* pair = block.pairs;
  for (int i = 0; i < rows; ++i) {
    if (i + kPrefetchRows < rows) to.prefetch(block.order[i + kPrefetchRows]);
    const int m = block.order[i];
    V sum[sizeof...(P)];
    if (first) {
      ((sum[P] = V::zero()), ...);
    } else {
      ((sum[P] = V::load(acc + m * kTile + kVector * P)), ...);
    }
    int count = block.counts[i];
    for (; count >= 2; count -= 2, pair += 2) {
      uint32_t two;
      __builtin_memcpy(&two, pair, sizeof two);
      add_pair(pixels, two & 0xffff, panel, sum);
      add_pair(pixels, two >> 16, panel, sum);
    }
    if (count > 0) add_pair(pixels, *pair++, panel, sum);
    to.store(pixels, m, sum);
  }
}

template <class V, class To>
void sparse_block_to(const SparseBlock& block, int rows, const float* panel, const float* acc, int vectors, bool first,
                     const To& to) {
  switch (vectors) {
    case 1:
      return sparse_rows<V>(SeqTo<1>(), block, rows, panel, acc, first, to);
    case 2:
      return sparse_rows<V>(SeqTo<2>(), block, rows, panel, acc, first, to);
    case 3:
      return sparse_rows<V>(SeqTo<3>(), block, rows, panel, acc, first, to);
    case 4:
      return sparse_rows<V>(SeqTo<4>(), block, rows, panel, acc, first, to);
    case 5:
      return sparse_rows<V>(SeqTo<5>(), block, rows, panel, acc, first, to);
    case 6:
      return sparse_rows<V>(SeqTo<6>(), block, rows, panel, acc, first, to);
    case 7:
      return sparse_rows<V>(SeqTo<7>(), block, rows, panel, acc, first, to);
  }
}

template <class V>
void sparse_block(const SparseBlock& block, int rows, const float* panel, float* acc, int vectors, bool first,
                  const RowOutput* output) {
  if (!output) return sparse_block_to<V>(block, rows, panel, acc, vectors, first, ToAcc<V>{acc});
  with_activation<V>(*output->act, [=](auto act) {
    sparse_block_to<V>(block, rows, panel, acc, vectors, first, ToOutput<V, decltype(act)>{*output, act});
  });
}

}  // namespace opq
