// Sparse columns of codes, block by block of rows (kernels.h): a block has as many rows as 16 bits can number beside a
// code, and a quarter of the layer's at the most, so that there are some for several threads.
//
//   begin    [block][k]: where column k starts, from the block's own start on; then where the last one ends
//   entries  [block][k], by ascending row
#pragma once

#include <algorithm>
#include <vector>

#include "runtime/layers.h"

namespace opq {

class SparseColumns {
 public:
  static constexpr int64_t kMostRows = 1024;

  // Of a code, for codes up to `largest` in absolute value. -128 has room in 8 bits, too.
  static int bits_of(int largest) {
    int bits = 4;
    while (bits < 8 && largest >= 1 << (bits - 1)) ++bits;
    return bits;
  }
  // Rows of a block: a multiple of kCountedRows, whose nonzeros are known by column.
  static int64_t rows_of_blocks(int64_t rows, int largest) {
    const int64_t quarter = (rows / 4 + kCountedRows - 1) / kCountedRows * kCountedRows;
    return std::clamp(quarter, kCountedRows, std::min(kMostRows, int64_t{1} << (16 - bits_of(largest))));
  }

  // Whether 32 bits number the entries of a block of so many columns.
  static bool can_hold(int64_t depth) { return depth < (int64_t{1} << 32) / kMostRows; }

  explicit SparseColumns(const Weights& weights);

  int64_t rows() const { return rows_; }
  int64_t depth() const { return depth_; }
  int64_t blocks() const { return (rows_ + block_rows_ - 1) / block_rows_; }
  int64_t first_row(int64_t block) const { return block * block_rows_; }
  int64_t rows_of(int64_t block) const { return std::min(block_rows_, rows_ - first_row(block)); }
  int64_t nonzeros() const { return static_cast<int64_t>(entries_.size()); }
  // From column k on.
  SparseColumnBlock block(int64_t i, int64_t k = 0) const {
    return {begin_.data() + i * (depth_ + 1) + k, entries_.data() + start_[static_cast<std::size_t>(i)], bits_};
  }
  std::size_t bytes() const {
    return begin_.size() * sizeof(begin_[0]) + entries_.size() * sizeof(entries_[0]) +
           start_.size() * sizeof(start_[0]);
  }
  static int64_t most_bytes(const Weights& weights);

 private:
  static_assert(kCountedRows <= 1 << (16 - 8), "the rows of the smallest blocks are counted together");

  int64_t rows_, depth_;
  int bits_;
  int64_t block_rows_;
  std::vector<uint32_t> begin_;
  std::vector<uint16_t> entries_;
  std::vector<std::size_t> start_;  // by block
};

}  // namespace opq
