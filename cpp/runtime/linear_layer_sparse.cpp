// Sparse columns (sparse_columns.h). Several images are done 8 at a time, interleaved: x[k][8] and acc[row][8].
#include <algorithm>

#include "runtime/linear_layer_packed.h"
#include "runtime/parallel.h"
#include "runtime/sparse_columns.h"

namespace opq {
namespace {

constexpr int64_t kLanes = kVector;

class SparseLinearLayer final : public LinearLayer {
 public:
  explicit SparseLinearLayer(const Weights& weights) : columns_(weights) {}

  // For a batch, the interleaved inputs [images / 8][k][8].
  std::size_t scratch_floats(int64_t batch, int threads) const override {
    const int64_t interleaved = batch == 1 ? 0 : (batch + kLanes - 1) / kLanes * kLanes * depth();
    return interleaved + threads * thread_floats(lanes_of(batch));
  }

  void run(int64_t batch, const float* x, float* y, const Epilogue& epilogue, float* scratch, ThreadPool& pool,
           const Kernels& kernels) const override {
    const int lanes = lanes_of(batch);
    const int64_t image_groups = (batch + lanes - 1) / lanes;
    float* acc = scratch;
    if (lanes > 1) {
      float* interleaved = scratch + pool.threads() * thread_floats(lanes);
      parallel_ranges(pool, image_groups, 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t group = begin; group < end; ++group) {
          interleave(x + group * kLanes * depth(), std::min(kLanes, batch - group * kLanes),
                     interleaved + group * kLanes * depth());
        }
      });
      x = interleaved;
    }
    parallel_ranges(pool, image_groups * columns_.blocks(), 1, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t group = i % image_groups, block = i / image_groups;
        float* sums = acc + thread * thread_floats(lanes);
        std::fill_n(sums, rows_of(block) * lanes, 0.0f);
        kernels.columns_sparse(columns_.block(block), x + group * lanes * depth(), depth(), lanes, sums);
        const int64_t images = std::min<int64_t>(lanes, batch - group * lanes);
        for (int64_t lane = 0; lane < images; ++lane) {
          finish(block, group * lanes + lane, lane_of(sums, block, lane, lanes), y, epilogue, kernels);
        }
      }
    });
  }

  std::size_t packed_bytes() const override { return columns_.bytes(); }
  int64_t nonzeros() const override { return columns_.nonzeros(); }
  const char* kernel_name() const override { return "sparse columns"; }

 private:
  static int lanes_of(int64_t batch) { return batch == 1 ? 1 : kLanes; }
  // acc, and one image's part of it
  int64_t thread_floats(int lanes) const { return columns_.rows_of(0) * (lanes == 1 ? 1 : lanes + 1); }

  void interleave(const float* x, int64_t images, float* out) const {
    for (int64_t k = 0; k < depth(); ++k) {
      for (int64_t lane = 0; lane < kLanes; ++lane) *out++ = lane < images ? x[lane * depth() + k] : 0.0f;
    }
  }

  const float* lane_of(float* sums, int64_t block, int64_t lane, int lanes) const {
    if (lanes == 1) return sums;
    float* one = sums + columns_.rows_of(0) * kLanes;
    for (int64_t row = 0; row < rows_of(block); ++row) one[row] = sums[row * kLanes + lane];
    return one;
  }

  void finish(int64_t block, int64_t image, const float* sums, float* y, const Epilogue& e,
              const Kernels& kernels) const {
    const int64_t m = columns_.first_row(block), offset = image * columns_.rows() + m;
    kernels.finish_columns(sums, e.scale ? e.scale + m : nullptr, e.bias ? e.bias + m : nullptr,
                           e.residual ? e.residual + offset : nullptr, e.act, y + offset,
                           static_cast<int>(rows_of(block)));
  }

  int64_t depth() const { return columns_.depth(); }
  int64_t rows_of(int64_t block) const { return columns_.rows_of(block); }

  SparseColumns columns_;
};

}  // namespace

std::unique_ptr<LinearLayer> pack_sparse_linear(const Weights& weights) {
  return std::make_unique<SparseLinearLayer>(weights);
}

int64_t most_sparse_linear_bytes(const Weights& weights) { return SparseColumns::most_bytes(weights); }

}  // namespace opq
