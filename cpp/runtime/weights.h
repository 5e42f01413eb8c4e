// The weights of a layer as they come out of the file.
#pragma once

#include <cstdint>
#include <vector>

#include "format/code_reader.h"

namespace opq {

// Of a row's codes: the sum of the positive ones, and of the negative ones without their sign. They saturate, far
// beyond what 8-bit activations may be multiplied with (IntegerLayer::can_multiply), which alone need them to be exact.
struct CodeSums {
  int32_t positive = 0, negative = 0;
};

inline constexpr int64_t kCountedRows = 256;

// What one look at all weights tells.
struct WeightStatistics {
  int64_t nonzeros = 0;
  int largest_code = 0;                   // the largest absolute one; 0 without codes
  std::vector<CodeSums> code_sums;        // by row; empty without codes
  std::vector<uint16_t> column_nonzeros;  // [row / kCountedRows][k], where they were asked for
  int64_t quads = 0;                      // how many fours of neighbouring codes of a row there are
  std::vector<int64_t> large_quads;       // LargeQuadCounter's, where they were asked for
};

// What not every layer needs to know of its weights.
struct Counted {
  bool column_nonzeros = false;  // sparse columns, which Linear layers alone have
  bool large_quads = false;      // convolutions of bytes without dot products, which may be dense
};

// codes[rows][depth] (int8), all of them or through a reader, or values[rows][depth] (float32); the others are null.
struct Weights {
  const int8_t* codes = nullptr;
  CodeReader* reader = nullptr;  // of a Linear layer whose codes would take too much memory together
  const float* values = nullptr;
  int64_t rows = 0;                              // output channels
  int64_t depth = 0;                             // input channels per group * kernel height * kernel width
  const WeightStatistics* statistics = nullptr;  // of these weights

  bool has_codes() const { return codes != nullptr || reader != nullptr; }
  // The codes of rows [first, first + count), until the next call. Fast in ascending order.
  const int8_t* codes_of(int64_t first, int64_t count) const {
    return reader ? reader->read(first * depth, count * depth) : codes + first * depth;
  }
};

// Does not read `statistics`. Throws Error(kFormat) for codes that cannot be read.
WeightStatistics statistics_of(const Weights& weights, const Counted& counted);

}  // namespace opq
