// Sparse columns of codes, block by block of rows (kernels.h): a block has as many rows as 16 bits can number beside a
// code, 1024 at the most, so that there are some for several threads.
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

  // Of codes up to `largest` in absolute value.
  static int bits_of(int largest) {
    int bits = 4;
    while (largest >= 1 << (bits - 1)) ++bits;
    return bits;
  }
  // Rows of a block.
  static int64_t rows_of_blocks(int largest) { return std::min(kMostRows, int64_t{1} << (16 - bits_of(largest))); }

  explicit SparseColumns(const Weights& weights);

  int64_t rows() const { return rows_; }
  int64_t depth() const { return depth_; }
  int64_t blocks() const { return blocks_of(rows_, block_rows_); }
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
  static int64_t blocks_of(int64_t rows, int64_t block_rows) { return (rows + block_rows - 1) / block_rows; }

  int64_t rows_, depth_;
  int bits_;
  int64_t block_rows_;
  std::vector<uint32_t> begin_;
  std::vector<uint16_t> entries_;
  std::vector<std::size_t> start_;  // by block
};

}  // namespace opq
