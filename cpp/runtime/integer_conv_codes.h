// The codes of an integer convolution as its kernels take them: the nonzeros as pairs, or all of them by quads. Both
// have what IntegerConvLayer asks for: how many rows are computed together, how a tile's inputs are copied, and the
// product with them, which may be finished as well.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "runtime/aligned_buffer.h"
#include "runtime/code_pairs.h"
#include "runtime/integer_finish.h"
#include "runtime/integer_layer_packed.h"
#include "runtime/quad_split.h"

namespace opq {

inline constexpr int64_t kIntegerRowCost = 4;  // starting and finishing a row takes as long as so many pairs

// Copying a row of a panel takes as long as so much of a pair's products, or of a row's dense ones.
inline constexpr double kCopiesPerPair = 1.3, kCopiesPerRow = 0.3;

// A block of the codes of one group of a convolution: rows [first, last), k from block * block_depth on.
struct CodeBlock {
  int64_t group, block, first, last;
  int pixels;  // of the tile, from its beginning on, that count
};

inline int64_t blocks_of(int64_t depth, int64_t block_depth) {
  return std::max<int64_t>(1, (depth + block_depth - 1) / block_depth);
}

// The nonzeros as pairs, [group][block][row].
template <typename T>
class PairCodes {
 public:
  static constexpr int64_t kRows = 1;           // that are computed together
  static constexpr double kCopiesPerRun = 0.5;  // what a run of a tile's pixels adds to copying a row of a panel
  using Sum = typename Held<T>::Sum;
  using Output = typename Held<T>::Output;

  // Of k in a block. Where a panel is copied it fits the L1 cache; windows share their inputs, so that more do.
  static int64_t block_depth(const ConvGeometry& geometry) {
    const int64_t panel = sizeof(T) == 1 ? kByteDepth : kWordDepth;
    return geometry.kernel_h == 1 && geometry.kernel_w == 1 ? panel : 9 * 128;
  }

  PairCodes(const Weights& weights, const ConvGeometry& geometry)
      : rows_(weights.rows / geometry.group),
        blocks_(blocks_of(weights.depth, block_depth(geometry))),
        pairs_(sizeof(T) == 1 ? Precision::kInt8 : Precision::kInt16) {
    const int64_t depth = block_depth(geometry);
    for (int64_t group = 0; group < geometry.group; ++group) {
      for (int64_t block = 0; block < blocks_; ++block) {
        for (int64_t m = group * rows_; m < (group + 1) * rows_; ++m) {
          const int64_t first = block * depth;
          pairs_.add_row(weights.codes + m * weights.depth + first, std::min(depth, weights.depth - first));
        }
      }
    }
    pairs_.finish();
    const auto cost = static_cast<double>(pairs_.count() + kIntegerRowCost * weights.rows);
    copies_per_k_ = kCopiesPerPair * cost / static_cast<double>(geometry.group * weights.depth);
  }

  // Of the first rows of a group, in pairs.
  int64_t cost(int64_t group, int64_t rows) const {
    int64_t pairs = 0;
    for (int64_t block = group * blocks_; block < (group + 1) * blocks_; ++block) {
      pairs += pairs_.count_before(block * rows_ + rows) - pairs_.count_before(block * rows_);
    }
    return pairs + kIntegerRowCost * rows;
  }

  static void pack(const T* x, const std::ptrdiff_t* offsets, int depth, const IntegerRun* runs, int count, int chunk,
                   T* panel, const Kernels& kernels) {
    if constexpr (sizeof(T) == 1) {
      kernels.pack_bytes(x, offsets, depth, runs, count, chunk, panel);
    } else {
      kernels.pack_words(x, offsets, depth, runs, count, chunk, panel);
    }
  }
  // What multiplying a row of a panel takes, in copies of one.
  double copies_per_k() const { return copies_per_k_; }
  // What a tile of so many pixels takes of a whole one.
  static double tile_work(int pixels) { return pixels <= kHalfTile ? 0.5 : 1.0; }
  // sums[row - block.first][64] (+)= codes * panel; with `output`, finished instead.
  void multiply(const CodeBlock& block, const T* panel, Sum* sums, const Output* output, const Kernels& kernels) const {
    const PairBlock rows =
        pairs_.block(static_cast<std::size_t>((block.group * blocks_ + block.block) * rows_ + block.first));
    const int count = static_cast<int>(block.last - block.first);
    const bool first = block.block == 0;
    if constexpr (sizeof(T) == 1) {
      kernels.byte_block(rows, count, panel, block.pixels, sums, first, output);
    } else {
      kernels.word_block(rows, count, panel, block.pixels, sums, first, output);
    }
  }

  std::size_t bytes() const { return pairs_.bytes(); }
  static const char* name() { return sizeof(T) == 1 ? "int8 pairs" : "int16 pairs"; }

 private:
  int64_t rows_, blocks_;
  CodePairs pairs_;
  double copies_per_k_;
};

// All codes, four rows and four k together, [group][block][row / 4][k / 4][4][4], up to where they are cut; and what is
// beyond, in the order of [group][block][row].
class QuadCodes {
 public:
  static constexpr int64_t kRows = 4;
  static constexpr double kCopiesPerRun = 0.1;  // runs are copied 16 pixels at a time, as a whole tile is
  using Sum = int32_t;
  using Output = ByteOutput;

  static int64_t block_depth(const ConvGeometry&) { return kDepth; }

  QuadCodes(const Weights& weights, const ConvGeometry& geometry, bool has_dot_products)
      : rows_(weights.rows / geometry.group),
        depth_(weights.depth),
        split_(split_quads(*weights.statistics, has_dot_products)),
        codes_(static_cast<std::size_t>(code_bytes(weights, geometry.group))) {
    std::memset(codes_.data(), 0, codes_.size());
    large_.reserve(static_cast<std::size_t>(most_large(weights, split_)));
    large_begin_.reserve(static_cast<std::size_t>(begins(weights)));
    for (int64_t group = 0; group < geometry.group; ++group) {
      for (int64_t block = 0; block * kDepth < depth_; ++block) {
        for (int64_t row = 0; row < rows_; ++row) {
          large_begin_.push_back(static_cast<uint32_t>(large_.size()));
          const int8_t* codes = weights.codes + (group * rows_ + row) * depth_ + block * kDepth;
          add_row(codes, depth_of(block), codes_at(group, block, row / 4) + row % 4 * 4);
        }
      }
    }
    large_begin_.push_back(static_cast<uint32_t>(large_.size()));
  }

  static int64_t most_bytes(const Weights& weights, int64_t groups, bool has_dot_products) {
    const int64_t large = most_large(weights, split_quads(*weights.statistics, has_dot_products));
    return code_bytes(weights, groups) + large * static_cast<int64_t>(sizeof(LargeQuad)) +
           begins(weights) * static_cast<int64_t>(sizeof(uint32_t));
  }
  static int64_t cost(int64_t, int64_t rows) { return rows; }

  static void pack(const uint8_t* x, const std::ptrdiff_t* offsets, int depth, const IntegerRun* runs, int count, int,
                   uint8_t* panel, const Kernels& kernels) {
    kernels.pack_quads(x, offsets, depth, runs, count, panel);
  }
  double copies_per_k() const { return kCopiesPerRow * static_cast<double>(rows_); }
  static double tile_work(int pixels) { return static_cast<double>((pixels + 15) / 16) / 4.0; }  // 16 at once
  void multiply(const CodeBlock& block, const uint8_t* panel, int32_t* sums, const ByteOutput* output,
                const Kernels& kernels) const {
    const std::size_t row =
        static_cast<std::size_t>((block.group * blocks_of(depth_, kDepth) + block.block) * rows_ + block.first);
    const QuadBlock rows = {.codes = codes_at(block.group, block.block, block.first / 4),
                            .quads = static_cast<int>(quads_of(depth_of(block.block))),
                            .turn = split_.turn,
                            .large_begin = large_begin_.data() + row,
                            .large = large_.data()};
    kernels.quad_block(rows, static_cast<int>(block.last - block.first), panel, block.pixels, sums, block.block == 0,
                       output);
  }

  std::size_t bytes() const {
    return codes_.size() + large_.size() * sizeof(LargeQuad) + large_begin_.size() * sizeof(uint32_t);
  }
  static const char* name() { return "int8 dense"; }

 private:
  static constexpr int64_t kDepth = kQuadDepth;

  static int64_t quads_of(int64_t depth) { return (depth + 3) / 4; }
  static int64_t row_quads(int64_t rows) { return (rows + 3) / 4; }
  static int64_t code_bytes(const Weights& weights, int64_t groups) {
    return groups * row_quads(weights.rows / groups) * quads_of(weights.depth) * 16;
  }
  static int64_t most_large(const Weights& weights, const QuadSplit& split) {
    return split.large == 0 ? 0 : split.large + begins(weights);
  }
  static int64_t begins(const Weights& weights) { return weights.rows * blocks_of(weights.depth, kDepth) + 1; }
  int64_t depth_of(int64_t block) const { return std::min(kDepth, depth_ - block * kDepth); }

  // One row of a block: its codes to dense[k / 4][k % 4], whose quads are 16 apart.
  void add_row(const int8_t* codes, int64_t depth, int8_t* dense) {
    const int64_t turn = split_.cuts ? 4 * split_.turn : depth;
    for (int64_t begin = 0; begin < depth; begin += turn) {
      const int count = static_cast<int>(std::min(turn, depth - begin));
      int8_t rest[kDepth] = {};
      if (split_.cuts) cut_turn(codes + begin, count, rest);
      for (int k = 0; k < count; ++k) {
        const int64_t at = begin + k;
        dense[at / 4 * 16 + at % 4] = static_cast<int8_t>(codes[at] - rest[k]);
      }
      for (int k = 0; k < count; k += 4) add_large((begin + k) / 4, rest + k);
    }
    if (large_.size() % 2 != 0) large_.push_back({});
  }
  // What is cut off four codes, by as many LargeQuads as the largest part takes.
  void add_large(int64_t quad, int8_t* rest) {
    while (std::any_of(rest, rest + 4, [](int8_t code) { return code != 0; })) {
      LargeQuad large = {static_cast<uint16_t>(quad), {}};
      for (int j = 0; j < 4; ++j) {
        large.codes[j] = std::clamp<int8_t>(rest[j], -kMostLargeCode, kMostLargeCode);
        rest[j] = static_cast<int8_t>(rest[j] - large.codes[j]);
      }
      large_.push_back(large);
    }
  }

  // Blocks before the last one are of whole quads.
  int8_t* codes_at(int64_t group, int64_t block, int64_t row_quad) const {
    const int64_t quads = quads_of(depth_), before = block * kDepth / 4;
    const int64_t in_block = std::min(kDepth / 4, quads - before);
    return reinterpret_cast<int8_t*>(codes_.data()) +
           16 * (row_quads(rows_) * (group * quads + before) + row_quad * in_block);
  }

  int64_t rows_, depth_;
  QuadSplit split_;
  AlignedBuffer codes_;
  std::vector<LargeQuad> large_;
  std::vector<uint32_t> large_begin_;  // [group][block][row], and their number
};

}  // namespace opq
