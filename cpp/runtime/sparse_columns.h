// Sparse columns of codes: for each block of 256 rows and each k, the entries row + 256 * (code + 128), two bytes each.
//
//   counts  [block][k]      entries of column k
//   pairs   in the same order; `begin` [block] is where a block starts
#pragma once

#include <algorithm>
#include <vector>

#include "runtime/layers.h"

namespace opq {

struct SparseColumns {
  int64_t rows, depth;
  std::vector<uint16_t> counts, pairs;
  std::vector<std::size_t> begin;

  explicit SparseColumns(const Weights& weights) : rows(weights.rows), depth(weights.depth) {
    counts.resize(static_cast<std::size_t>(blocks() * depth));
    pairs.reserve(static_cast<std::size_t>(weights.statistics->nonzeros));
    begin.reserve(static_cast<std::size_t>(blocks()));
    for (int64_t block = 0; block < blocks(); ++block) {
      begin.push_back(pairs.size());
      const int8_t* codes = weights.codes_of(block * kSparseRows, rows_of(block));
      for (int64_t k = 0; k < depth; ++k) {
        for (int64_t row = 0; row < rows_of(block); ++row) {
          const int8_t code = codes[row * depth + k];
          if (code == 0) continue;
          pairs.push_back(static_cast<uint16_t>(row + 256 * (code + 128)));
          ++counts[static_cast<std::size_t>(block * depth + k)];
        }
      }
    }
  }

  int64_t blocks() const { return (rows + kSparseRows - 1) / kSparseRows; }
  int64_t rows_of(int64_t block) const { return std::min<int64_t>(kSparseRows, rows - block * kSparseRows); }
  std::size_t bytes() const {
    return (counts.size() + pairs.size()) * sizeof(uint16_t) + begin.size() * sizeof(begin[0]);
  }
  static int64_t most_bytes(const Weights& weights) {
    const int64_t blocks = (weights.rows + kSparseRows - 1) / kSparseRows;
    return (blocks + weights.rows) * weights.depth * 2 + blocks * static_cast<int64_t>(sizeof(std::size_t));
  }
};

}  // namespace opq
