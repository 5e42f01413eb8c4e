// Where the codes of a dense layer of bytes are cut in two (kernels/quads-inl.h): what is added up in 16 bits, turn by
// turn, and what few codes have beyond.
#pragma once

#include <cstdint>

#include "runtime/weights.h"

namespace opq {

struct QuadSplit {
  int turn;       // of a QuadBlock
  int most;       // the largest code of the dense part
  int64_t large;  // LargeQuads that hold the rest, but for those that make the number of a row's even
  double work;    // of all, in what a quad takes whose products are added in 32 bits
};

// The one of least work. With dot products nothing is cut.
QuadSplit split_quads(const WeightStatistics& statistics, bool has_dot_products);

// Of a code beyond `most`, as much as a LargeQuad may have: the products of two of them fit into 16 bits together.
inline constexpr int kMostLargeCode = 32;

}  // namespace opq
