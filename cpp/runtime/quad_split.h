// Where the codes of a dense layer of bytes are cut in two (kernels/quads-inl.h): what is added up in 16 bits, turn by
// turn, and what few codes have beyond.
#pragma once

#include <cstdint>

#include "runtime/weights.h"

namespace opq {

struct QuadSplit {
  int turn;       // of a QuadBlock
  int most;       // the largest code of the dense part
  int64_t large;  // LargeQuads that hold the rest
  double work;    // of all, in what a quad takes whose products are added in 32 bits
};

// The one of least work. With dot products nothing is cut.
QuadSplit split_quads(const WeightStatistics& statistics, bool has_dot_products);

// Of a code beyond `most`, what its quad's first LargeQuad has; the rest, if any, is for a second one.
inline constexpr int kMostLargeCode = 64;

}  // namespace opq
