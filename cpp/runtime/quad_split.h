// How the codes of a dense layer of bytes are cut in two where there are no dot products (kernels/quads-inl.h): what is
// added up in 16 bits, turn by turn, and what few codes have beyond.
//
// Of the two products that are added first, codes 0 and 1 of a quad or codes 2 and 3, a turn may have positive codes
// that add up to 128, and negative ones that do: 255 * 128 fits 16 bits. How long turns may be is a matter of the mean
// of the codes, not of the largest one: a longer turn ends less often, and leaves more to be cut off.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "runtime/weights.h"

namespace opq {

struct QuadSplit {
  int turn;       // of a QuadBlock
  bool cuts;      // whether turns have a largest sum
  int64_t large;  // LargeQuads that hold what is cut off, but for those that make the number of a row's even
  double work;    // of all, in what a quad takes whose products are added in 32 bits
};

// The one of least work. With dot products nothing is cut, and statistics.large_quads not read.
QuadSplit split_quads(const WeightStatistics& statistics, bool has_dot_products);

// Of what is cut off a code, as much as a LargeQuad may have: the products of two of them fit into 16 bits together.
inline constexpr int kMostLargeCode = 32;

// What is to be cut off the codes of one turn of a row, codes[count], to rest[count]: from the largest ones first, so
// that few have any. Returns how many LargeQuads hold it.
int cut_turn(const int8_t* codes, int count, int8_t* rest);

// Counts, row by row, what turns of every length would leave.
class LargeQuadCounter {
 public:
  static constexpr int kLengths = 7;  // up to the quads of a block

  void add_row(const int8_t* codes, int64_t depth);
  // By length: turns of 1, 2, 4, ... quads, as far as they are worth it.
  std::vector<int64_t> counts() const { return {large_.begin(), large_.begin() + static_cast<int>(lengths_)}; }

 private:
  void add_block(const int8_t* codes, int count);

  std::size_t lengths_ = kLengths;
  int64_t quads_ = 0;
  std::array<int64_t, kLengths> large_ = {};
};

}  // namespace opq
