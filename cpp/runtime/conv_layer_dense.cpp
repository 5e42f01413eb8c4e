// Dense weights, floats or codes: [group][depth_block][row / 3][k][row % 3].
#include <algorithm>
#include <vector>

#include "runtime/conv_layer_packed.h"
#include "runtime/conv_layer_tiled.h"

namespace opq {
namespace {

constexpr int kGroupRows = 12;  // whose sums are finished while they are in the L1 cache
constexpr int kCacheLineFloats = 16;
static_assert(kGroupRows % kDenseRows == 0);

int64_t padded(int64_t rows) { return (rows + kDenseRows - 1) / kDenseRows * kDenseRows; }

template <typename T>
class DenseConvLayer final : public TiledConvLayer {
 public:
  static int64_t most_bytes(const Weights& weights, const ConvGeometry& geometry) {
    return geometry.group * padded(weights.rows / geometry.group) * weights.depth * static_cast<int64_t>(sizeof(T)) +
           cost_bytes(weights, geometry, kGroupRows);
  }

  DenseConvLayer(const Weights& weights, const ConvGeometry& geometry, const T* values)
      : TiledConvLayer(weights, geometry, kGroupRows), packed_(groups() * padded_rows() * depth()) {
    for (int64_t group = 0; group < groups(); ++group) {
      for (int64_t m = 0; m < rows(); ++m) {
        const T* row = values + (group * rows() + m) * depth();
        for (int64_t block = 0; block < depth_blocks(); ++block) {
          T* out = packed_.data() + offset({group, block, m / kGroupRows}) +
                   m % kGroupRows / kDenseRows * kDenseRows * depth_of(block);
          for (int k = 0; k < depth_of(block); ++k) out[k * kDenseRows + m % kDenseRows] = row[block * kDepthBlock + k];
        }
      }
    }
    std::vector<int64_t> costs;
    costs.reserve(groups() * row_groups());
    for (int64_t i = 0; i < groups() * row_groups(); ++i) costs.push_back(depth() * rows_of(i % row_groups()));
    set_costs(costs);
  }

  std::size_t packed_bytes() const override { return packed_.size() * sizeof(T); }
  const char* kernel_name() const override { return "dense"; }

 protected:
  void multiply(const BlockIndex& block, const float* panel, float* acc, int vectors, const RowOutput* output,
                const Kernels& kernels) const override {
    const DenseBlock<T> dense = {packed_.data() + offset(block), depth_of(block.depth_block)};
    const int rows = rows_of(block.row_group);
    if (output) prefetch(*output, rows);
    if constexpr (std::is_same_v<T, int8_t>) {
      kernels.dense_block_i8(dense, rows, panel, acc, vectors, block.depth_block == 0);
    } else {
      kernels.dense_block(dense, rows, panel, acc, vectors, block.depth_block == 0);
    }
    if (output) kernels.finish_rows(acc, rows, *output);
  }

 private:
  // Output rows lie a whole image apart, where the hardware does not foresee them. They come while the sums are made.
  static void prefetch(const RowOutput& output, int rows) {
    for (int m = 0; m < rows; ++m) {
      for (int p = 0; p < output.n; p += kCacheLineFloats) {
        __builtin_prefetch(output.y + m * output.stride + p, 1);
        if (output.residual) __builtin_prefetch(output.residual + m * output.stride + p);
      }
    }
  }

  int64_t padded_rows() const { return padded(rows()); }
  int64_t offset(const BlockIndex& block) const {
    return (block.group * depth() + block.depth_block * kDepthBlock) * padded_rows() +
           block.row_group * kGroupRows * depth_of(block.depth_block);
  }

  std::vector<T> packed_;
};

}  // namespace

std::unique_ptr<ConvLayer> pack_dense_conv(const Weights& weights, const ConvGeometry& geometry) {
  if (weights.codes) return std::make_unique<DenseConvLayer<int8_t>>(weights, geometry, weights.codes);
  return std::make_unique<DenseConvLayer<float>>(weights, geometry, weights.values);
}

int64_t most_dense_conv_bytes(const Weights& weights, const ConvGeometry& geometry) {
  return weights.codes ? DenseConvLayer<int8_t>::most_bytes(weights, geometry)
                       : DenseConvLayer<float>::most_bytes(weights, geometry);
}

}  // namespace opq
