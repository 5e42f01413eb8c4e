// The nonzero codes of some rows, two by two, in segments whose sums a kernel can hold: what PairBlock of kernels.h points
// to. bytes-inl.h draws it.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/grid.h"

namespace opq {

class CodePairs {
 public:
  // unit: what place k is stored as, in units: a kernel finds it without a multiplication.
  CodePairs(Precision precision, int unit) : precision_(precision), unit_(unit) {}

  // Appends a row of `depth` codes, depth * unit <= 65536. Returns its number of pairs.
  int64_t add_row(const int8_t* codes, int64_t depth);
  // To be called after the last row: gives back the memory that is not needed.
  void finish();
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
  int unit_;
  std::vector<uint16_t> segments_;        // by row
  std::vector<Begin> begins_;             // by row
  std::vector<uint8_t> counts_;           // by segment: pairs
  std::vector<uint16_t> places_, codes_;  // by pair: two places k * unit; two codes of 8 bits
};

}  // namespace opq
