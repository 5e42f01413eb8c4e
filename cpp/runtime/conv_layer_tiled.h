// A convolution as a product of weights [m][k] with the pixels of one tile after another, k = (channel, ky, kx).
//
//   for every image, group, tile of up to 56 output pixels (counted through the whole image), some of the output rows
//   m:
//     for every block of 128 k:
//       copy the tile's inputs to panel[k][56]                                     pack_panel
//       acc[m][56] += weights[m][k] * panel[k][56]                                 multiply, in groups of rows
//     y[m][tile] = act(scale[m] * acc[m] + bias[m] + residual[m][tile])            finish_rows
//
// The packed weights do not depend on the input's size, the panel stays in the L1 cache, and each input is copied once
// per tile and part. Copies read contiguous rows of the padded planes (conv_layer_planes.h), or x itself for 1x1
// kernels. How the work is divided does not change the result: every output is one chain over ascending k.
#pragma once

#include <vector>

#include "runtime/conv_layer_planes.h"
#include "runtime/layers.h"

namespace opq {

class TiledConvLayer : public ConvLayer {
 public:
  std::size_t scratch_floats(const ConvShape& shape, int threads) const override;
  void run(const ConvShape& shape, const float* x, float* y, const Epilogue& epilogue, float* scratch, ThreadPool& pool,
           const Kernels& kernels) const override;
  int64_t nonzeros() const override { return nonzeros_; }

 protected:
  // A block of weights: rows [row_group * group_rows(), ...) of a convolution group, columns of one depth block.
  struct BlockIndex {
    int64_t group, depth_block, row_group;
  };

  // Bytes that the costs take, here and where they are made.
  static int64_t cost_bytes(const Weights& weights, const ConvGeometry& geometry, int group_rows);

  // group_rows: how many output rows multiply() takes at a time.
  TiledConvLayer(const Weights& weights, const ConvGeometry& geometry, int group_rows);

  // acc[m][kTile] (+)= weights * panel for one block; for the last depth block, the finished sums go to `output` (else
  // null).
  virtual void multiply(const BlockIndex& block, const float* panel, float* acc, int vectors, const RowOutput* output,
                        const Kernels& kernels) const = 0;

  int64_t rows() const { return rows_; }    // output channels per group
  int64_t depth() const { return depth_; }  // inputs per output
  int64_t groups() const { return geometry_.group; }
  int64_t depth_blocks() const { return (depth_ + kDepthBlock - 1) / kDepthBlock; }
  int64_t row_groups() const { return (rows_ + group_rows_ - 1) / group_rows_; }
  int rows_of(int64_t row_group) const;
  int depth_of(int64_t depth_block) const;
  // The place of a block in memory: [group][depth_block][row_group].
  int64_t flat_index(const BlockIndex& block) const;
  // Tells how much work each row group is, for an even division: costs[group * row_groups() + row_group] > 0, in units
  // of one multiply-add of a tile.
  void set_costs(const std::vector<int64_t>& costs);

 private:
  struct Job;
  struct Task;

  bool reads_input_directly(const ConvShape& shape) const;
  int64_t group_channels() const { return depth_ / planes_.taps(); }
  int64_t groups_at_once() const;  // row groups of one task, at the most
  // The first row group of part i out of `parts`, by cost.
  int64_t part_begin(int64_t group, int64_t part, int64_t parts) const;
  int64_t acc_floats() const { return groups_at_once() * group_rows_ * kTile; }
  std::size_t thread_floats() const;
  void run_task(const Job& job, const Task& task, float* scratch) const;
  void pack(const Job& job, const Task& task, int64_t depth_block, const PanelRun* runs, int count, float* panel) const;

  ConvGeometry geometry_;
  InputPlanes planes_;
  int group_rows_;
  int64_t rows_, depth_, nonzeros_;
  std::vector<int64_t> cost_sums_;  // [group][row_groups() + 1]
};

}  // namespace opq
