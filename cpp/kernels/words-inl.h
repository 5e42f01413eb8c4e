// Products of small integer codes with 16-bit activations, sparse, on one tile of 64 pixels: as bytes-inl.h, in sums of
// 32 bits (S32). A segment's codes without their signs add up to 65535 at the most: 65535 * 32767 fits. Sums are kept
// as float64, which holds them exactly, as they may have up to 53 bits.
#pragma once

#include "kernels/kernels.h"
#include "kernels/unroll-inl.h"

namespace opq {

namespace {

struct WordPanelPlaces {
  const int16_t* panel;
  const int16_t* operator()(uint32_t place) const { return panel + 8 * std::size_t{place}; }
};
struct WordPlanePlaces {
  const int16_t* x;
  const std::ptrdiff_t* offsets;
  const int16_t* operator()(uint32_t place) const {
    return x + *reinterpret_cast<const std::ptrdiff_t*>(reinterpret_cast<const char*>(offsets) + place);
  }
};

}  // namespace

template <class S, class X, int... V>
void word_rows(Seq<V...>, const PairBlock& block, int rows, X x, double* sums, bool first) {
  const uint8_t* count = block.counts;
  const uint16_t *place = block.places, *code = block.codes;
  for (int m = 0; m < rows; ++m, sums += kByteTile) {
    const int segments = block.segments[m];
    if (first && segments == 0) {
      for (int p = 0; p < kByteTile; ++p) sums[p] = 0.0;
    }
    for (int s = 0; s < segments; ++s) {
      S sum[sizeof...(V)] = {(static_cast<void>(V), S::zero())...};
      for (int pairs = *count++; pairs > 0; --pairs, ++code, place += 2) {
        uint32_t two;
        __builtin_memcpy(&two, place, sizeof two);
        const int16_t *a = x(two & 0xffff), *b = x(two >> 16);
        ((sum[V] = sum[V].add_products(a + S::kPixels * V, b + S::kPixels * V, *code)), ...);
      }
      if (first && s == 0) {
        (sum[V].store(sums + S::kPixels * V), ...);
      } else {
        (sum[V].add_to(sums + S::kPixels * V), ...);
      }
    }
  }
}

template <class S>
void word_block(const PairBlock& block, int rows, const int16_t* panel, double* sums, bool first) {
  word_rows<S>(SeqTo<kByteTile / S::kPixels>(), block, rows, WordPanelPlaces{panel}, sums, first);
}

template <class S>
void word_block_in_place(const PairBlock& block, int rows, const int16_t* x, const std::ptrdiff_t* offsets,
                         double* sums, bool first) {
  word_rows<S>(SeqTo<kByteTile / S::kPixels>(), block, rows, WordPlanePlaces{x, offsets}, sums, first);
}

}  // namespace opq
