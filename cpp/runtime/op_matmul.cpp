// MatMul of two values: c[m, n] = sum over k of a[m, k] * b[k, n], k ascending, one chain of fused multiply-adds per
// element.
//
// It is the dense product of the convolutions with a in the role of the weights and b in that of the pixels: for a tile
// of kTile columns and kRows rows, blocks of kDepthBlock rows of b are copied to a panel and of a to groups of
// kDenseRows rows, [m / 3][k][m % 3].
#include <algorithm>

#include "runtime/loop_axes.h"
#include "runtime/parallel.h"
#include "runtime/shapes.h"
#include "runtime/step.h"

namespace opq {
namespace {

constexpr int64_t kRows = 96, kGroup = kDenseRows;
constexpr int64_t kPanelFloats = int64_t{kDepthBlock} * kTile, kWeightFloats = kRows * kDepthBlock,
                  kSumFloats = kRows * kTile;
constexpr int64_t kThreadFloats = kPanelFloats + kWeightFloats + kSumFloats;
static_assert(kRows % kGroup == 0 && kThreadFloats % 16 == 0);

class MatMulStep final : public Step {
 public:
  explicit MatMulStep(const StepSource& source)
      : a_(source.node().input(0)), b_(source.node().input(1)), y_(source.fused.output) {
    Shape a = source.input_shape(0), b = source.input_shape(1);
    if (a.size() == 1) a.insert(a.begin(), 1);
    if (b.size() == 1) b.push_back(1);
    m_ = a[a.size() - 2], k_ = a.back(), n_ = b.back();
    a.resize(a.size() - 2);
    b.resize(b.size() - 2);
    Shape batch;
    broadcast_shapes(a, b, batch);
    batch_a_ = broadcast_axes(a, batch, m_ * k_);
    batch_b_ = broadcast_axes(b, batch, k_ * n_);
    batches_ = element_count(source.output_shape()) == 0 ? 0 : element_count(batch);
  }

  std::size_t scratch_floats(int threads) const override { return static_cast<std::size_t>(kThreadFloats) * threads; }

  void run(const Execution& execution) const override {
    const int64_t row_tiles = (m_ + kRows - 1) / kRows, column_tiles = (n_ + kTile - 1) / kTile;
    parallel_ranges(execution.pool, batches_ * row_tiles * column_tiles, 1,
                    [&](int64_t begin, int64_t end, int thread) {
                      for (int64_t tile = begin; tile < end; ++tile) {
                        const int64_t batch = tile / (row_tiles * column_tiles);
                        const float* a = execution.input<float>(a_) + offset_of(batch_a_, batch);
                        const float* b = execution.input<float>(b_) + offset_of(batch_b_, batch);
                        float* y = execution.output<float>(y_) + batch * m_ * n_;
                        run_tile(a, b, y, tile / column_tiles % row_tiles * kRows, tile % column_tiles * kTile,
                                 execution.scratch + thread * kThreadFloats, execution.kernels);
                      }
                    });
  }

 private:
  void run_tile(const float* a, const float* b, float* y, int64_t row, int64_t column, float* scratch,
                const Kernels& kernels) const {
    float* panel = scratch;
    float* weights = panel + kPanelFloats;
    float* sums = weights + kWeightFloats;
    const int64_t rows = std::min(kRows, m_ - row), columns = std::min<int64_t>(kTile, n_ - column);
    const int64_t vectors = (columns + kVector - 1) / kVector;
    if (k_ == 0) std::fill_n(sums, kSumFloats, 0.0f);
    for (int64_t k = 0; k < k_; k += kDepthBlock) {
      const int64_t depth = std::min<int64_t>(kDepthBlock, k_ - k);
      for (int64_t i = 0; i < depth; ++i) {
        float* out = panel + i * kTile;
        std::copy_n(b + (k + i) * n_ + column, columns, out);
        std::fill(out + columns, out + kVector * vectors, 0.0f);
      }
      for (int64_t m = 0; m < rows; ++m) {
        float* out = weights + m / kGroup * depth * kGroup + m % kGroup;
        for (int64_t i = 0; i < depth; ++i) out[i * kGroup] = a[(row + m) * k_ + k + i];
      }
      kernels.dense_block({weights, static_cast<int>(depth)}, static_cast<int>(rows), panel, sums,
                          static_cast<int>(vectors), k == 0);
    }
    const Activation none;
    kernels.finish_rows(sums, static_cast<int>(rows),
                        {.scale = nullptr,
                         .bias = nullptr,
                         .residual = nullptr,
                         .stride = n_,
                         .act = &none,
                         .y = y + row * n_ + column,
                         .n = static_cast<int>(columns)});
  }

  const int a_, b_, y_;
  int64_t m_, k_, n_, batches_;
  std::vector<LoopAxis> batch_a_, batch_b_;  // outermost first, strides to the next matrix
};

}  // namespace

std::unique_ptr<Step> make_matmul_step(const StepSource& source) { return std::make_unique<MatMulStep>(source); }

}  // namespace opq
