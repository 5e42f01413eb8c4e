#include "runtime/sparse_columns.h"

namespace opq {

SparseColumns::SparseColumns(const Weights& weights)
    : rows_(weights.rows),
      depth_(weights.depth),
      bits_(bits_of(weights.statistics->largest_code)),
      block_rows_(rows_of_blocks(rows_, weights.statistics->largest_code)),
      begin_(static_cast<std::size_t>(blocks() * (depth_ + 1))),
      entries_(static_cast<std::size_t>(weights.statistics->nonzeros)) {
  const std::vector<uint16_t>& counted = weights.statistics->column_nonzeros;
  const int zero = 1 << (bits_ - 1);
  std::vector<uint32_t> next(static_cast<std::size_t>(depth_));  // by column: where its next entry goes
  start_.reserve(static_cast<std::size_t>(blocks()));
  std::size_t start = 0;
  for (int64_t block = 0; block < blocks(); ++block) {
    start_.push_back(start);
    uint32_t* begin = begin_.data() + block * (depth_ + 1);
    const int64_t first = first_row(block), last = first + rows_of(block);
    for (int64_t k = 0; k < depth_; ++k) {
      next[static_cast<std::size_t>(k)] = begin[k];
      begin[k + 1] = begin[k];
      for (int64_t row = first; row < last; row += kCountedRows) {
        begin[k + 1] += counted[static_cast<std::size_t>(row / kCountedRows * depth_ + k)];
      }
    }
    uint16_t* entries = entries_.data() + start;
    for (int64_t row = first; row < last; ++row) {
      const int8_t* codes = weights.codes_of(row, 1);
      for (int64_t k = 0; k < depth_; ++k) {
        if (codes[k] == 0) continue;
        entries[next[static_cast<std::size_t>(k)]++] =
            static_cast<uint16_t>((row - first) << bits_ | (codes[k] + zero));
      }
    }
    start += begin[depth_];
  }
}

int64_t SparseColumns::most_bytes(const Weights& weights) {
  const int64_t block_rows = rows_of_blocks(weights.rows, weights.statistics->largest_code);
  const int64_t blocks = (weights.rows + block_rows - 1) / block_rows;
  return (blocks * (weights.depth + 1) + weights.depth) * static_cast<int64_t>(sizeof(uint32_t)) +
         weights.statistics->nonzeros * static_cast<int64_t>(sizeof(uint16_t)) +
         blocks * static_cast<int64_t>(sizeof(std::size_t));
}

}  // namespace opq
