// What the kernels that walk down columns share: columns-inl.h in float32, columns-integer-inl.h in integers.
//
// V, the set's type of vectors, keeps the functions in the set's own file.
#pragma once

#include "kernels/kernels.h"
#include "kernels/unroll-inl.h"

namespace opq {

constexpr std::size_t kColumnChunk = 512;  // columns that are listed at a time
constexpr std::size_t kColumnsAhead = 64;  // columns that are fetched before they are used

// To the L2 cache: what the L1 cache can wait for at a time would not keep up with memory.
inline void fetch_column(const void* column) { __builtin_prefetch(column, 0, 2); }

// The k in [begin, end) with x[k] != 0, without a branch that depends on x. Returns how many. Behind them lies the last
// k of the chunk, kColumnsAhead times. The list also tells what to prefetch: the hardware follows a stream, but not one
// with gaps.
template <class V, class X>
inline std::size_t list_columns(const X* x, std::size_t begin, std::size_t end, std::size_t* active) {
  std::size_t count = 0;
  for (std::size_t k = begin; k < end; ++k) {
    active[count] = k;
    count += x[k] != 0;
  }
  for (std::size_t i = 0; i < kColumnsAhead; ++i) active[count + i] = end - 1;
  return count;
}

constexpr std::size_t kSparseColumnsAhead = 4;  // a column takes some 30 ns, a line from memory three times as long
constexpr uint32_t kLineEntries = 32;

// add(row, code + 2^(bits - 1), x[k]) for the entries of the columns with x[k] != 0. Two at a time, as in sparse-inl.h.
// Rows of a column differ, so the two sums are independent.
template <class V, class X, class Add>
inline void for_entries(const SparseColumnBlock& block, const X* x, std::size_t depth, const Add& add) {
  const int bits = block.bits;
  const uint32_t mask = (1u << bits) - 1;
  for (std::size_t begin = 0; begin < depth; begin += kColumnChunk) {
    const std::size_t end = depth - begin < kColumnChunk ? depth : begin + kColumnChunk;
    std::size_t active[kColumnChunk + kColumnsAhead];
    const std::size_t count = list_columns<V>(x, begin, end, active);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t next = active[i + kSparseColumnsAhead];
      for (uint32_t at = block.begin[next]; at < block.begin[next + 1]; at += kLineEntries) {
        fetch_column(block.entries + at);
      }
      const std::size_t k = active[i];
      const X x_k = x[k];
      const uint16_t *entry = block.entries + block.begin[k], *last = block.entries + block.begin[k + 1];
      for (; last - entry >= 2; entry += 2) {
        uint32_t two;
        __builtin_memcpy(&two, entry, sizeof two);
        add((two & 0xffff) >> bits, two & mask, x_k);
        add(two >> 16 >> bits, two >> 16 & mask, x_k);
      }
      if (entry != last) add(static_cast<uint32_t>(*entry) >> bits, *entry & mask, x_k);
    }
  }
}

// run(SeqTo<vectors>()), 1 to 8
template <class V, class Run>
inline void with_vectors(int vectors, const Run& run) {
  switch (vectors) {
    case 1:
      return run(SeqTo<1>());
    case 2:
      return run(SeqTo<2>());
    case 3:
      return run(SeqTo<3>());
    case 4:
      return run(SeqTo<4>());
    case 5:
      return run(SeqTo<5>());
    case 6:
      return run(SeqTo<6>());
    case 7:
      return run(SeqTo<7>());
    case 8:
      return run(SeqTo<8>());
  }
}

}  // namespace opq
