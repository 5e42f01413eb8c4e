// Sparse codes, two bytes per nonzero:
//
//   order, counts   [group][depth_block][row]: 64 rows at a time in the order of their counts (sparse-inl.h says why)
//   pairs           k + 256 * (code + 128), in the same order of rows
//
// The last depth block keeps the natural order: its rows go to the output, and far jumps there cost more than the
// sorting gains.
#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "runtime/conv_layer_packed.h"
#include "runtime/conv_layer_tiled.h"

namespace opq {
namespace {

constexpr int kGroupRows = 64;
constexpr int64_t kRowCost = 4;  // starting and storing a row of a block takes as long as so many nonzeros

class SparseConvLayer final : public TiledConvLayer {
 public:
  static int64_t most_bytes(const Weights& weights, const ConvGeometry& geometry) {
    const int64_t depth_blocks = (weights.depth + kDepthBlock - 1) / kDepthBlock;
    const int64_t row_groups = (weights.rows / geometry.group + kGroupRows - 1) / kGroupRows;
    return weights.rows * (depth_blocks + weights.depth) * 2 +
           geometry.group * depth_blocks * row_groups * static_cast<int64_t>(sizeof(std::size_t)) +
           cost_bytes(weights, geometry, kGroupRows);
  }

  SparseConvLayer(const Weights& weights, const ConvGeometry& geometry)
      : TiledConvLayer(weights, geometry, kGroupRows) {
    order_.reserve(groups() * depth_blocks() * rows());
    counts_.reserve(groups() * depth_blocks() * rows());
    pairs_.reserve(nonzeros());
    pair_begin_.reserve(groups() * depth_blocks() * row_groups());
    std::vector<int64_t> costs(groups() * row_groups());
    for (int64_t group = 0; group < groups(); ++group) {
      for (int64_t block = 0; block < depth_blocks(); ++block) {
        for (int64_t i = 0; i < row_groups(); ++i) {
          const std::size_t begin = pairs_.size();
          pair_begin_.push_back(begin);
          pack_block(weights, {group, block, i});
          costs[group * row_groups() + i] += static_cast<int64_t>(pairs_.size() - begin) + kRowCost * rows_of(i);
        }
      }
    }
    set_costs(costs);
  }

  std::size_t packed_bytes() const override {
    return order_.size() + counts_.size() + pairs_.size() * sizeof(pairs_[0]) +
           pair_begin_.size() * sizeof(pair_begin_[0]);
  }
  const char* kernel_name() const override { return "sparse"; }

 protected:
  void multiply(const BlockIndex& block, const float* panel, float* acc, int vectors, const RowOutput* output,
                const Kernels& kernels) const override {
    const int64_t row = (block.group * depth_blocks() + block.depth_block) * rows() + block.row_group * kGroupRows;
    const SparseBlock sparse = {order_.data() + row, counts_.data() + row,
                                pairs_.data() + pair_begin_[flat_index(block)]};
    kernels.sparse_block(sparse, rows_of(block.row_group), panel, acc, vectors, block.depth_block == 0, output);
  }

 private:
  void pack_block(const Weights& weights, const BlockIndex& block) {
    const int64_t first = block.group * rows() + block.row_group * kGroupRows;
    const int block_rows = rows_of(block.row_group), block_depth = depth_of(block.depth_block);
    const auto codes_of = [&](int m) {
      return weights.codes + (first + m) * depth() + block.depth_block * kDepthBlock;
    };
    std::array<std::pair<int, int>, kGroupRows> sorted;  // count, row
    for (int m = 0; m < block_rows; ++m) {
      const auto zeros = std::count(codes_of(m), codes_of(m) + block_depth, 0);
      sorted[m] = {block_depth - static_cast<int>(zeros), m};
    }
    if (block.depth_block + 1 < depth_blocks()) std::sort(sorted.begin(), sorted.begin() + block_rows);
    for (int i = 0; i < block_rows; ++i) {
      const auto [count, m] = sorted[i];
      counts_.push_back(static_cast<uint8_t>(count));
      order_.push_back(static_cast<uint8_t>(m));
      const int8_t* codes = codes_of(m);
      for (int k = 0; k < block_depth; ++k) {
        if (codes[k] != 0) pairs_.push_back(static_cast<uint16_t>(k + 256 * (codes[k] + 128)));
      }
    }
  }

  std::vector<uint8_t> order_, counts_;  // [group][depth_block][row]
  std::vector<uint16_t> pairs_;
  std::vector<std::size_t> pair_begin_;  // [group][depth_block][row_group]
};

}  // namespace

std::unique_ptr<ConvLayer> pack_sparse_conv(const Weights& weights, const ConvGeometry& geometry) {
  return std::make_unique<SparseConvLayer>(weights, geometry);
}

int64_t most_sparse_conv_bytes(const Weights& weights, const ConvGeometry& geometry) {
  return SparseConvLayer::most_bytes(weights, geometry);
}

}  // namespace opq
