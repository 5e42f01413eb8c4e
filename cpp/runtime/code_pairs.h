// The nonzero codes of some rows, two by two, in segments whose sums a kernel can hold: what PairBlock of kernels.h
// points to. bytes-inl.h draws it.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/grid.h"

namespace opq {

class CodePairs {
 public:
  static constexpr int64_t kMostDepth = (int64_t{1} << 16) / kPlaceUnit;
  // The sum of the codes of either sign that a segment of 8 bits may have: its products are added in 16 bits,
  // 128 * 255 < 2^15.
  static constexpr int kMostByteSum = 128;

  explicit CodePairs(Precision precision) : precision_(precision) {}

  // Appends a row of `depth` codes, at the most kMostDepth.
  void add_row(const int8_t* codes, int64_t depth);
  // To be called after the last row: gives back the memory that is not needed.
  void finish();
  // The number of pairs, and of those in the first `rows` rows.
  int64_t count() const { return static_cast<int64_t>(pairs_.size() / kPairBytes); }
  int64_t count_before(int64_t rows) const {
    const auto row = static_cast<std::size_t>(rows);
    return row < begins_.size() ? int64_t{begins_[row].pair} : count();
  }
  // Rows from `row` on, in the order in which they were added.
  PairBlock block(std::size_t row) const;

  // Bytes for so many rows of so many nonzeros at the most.
  static int64_t most_bytes(int64_t rows, int64_t nonzeros);
  std::size_t bytes() const;

 private:
  struct Begin {
    uint32_t segment, pair;
  };

  Precision precision_;
  std::vector<uint16_t> segments_;  // by row
  std::vector<Begin> begins_;       // by row
  std::vector<uint8_t> counts_;     // by segment: pairs
  std::vector<uint8_t> pairs_;      // kPairBytes each
};

}  // namespace opq
