// Dense columns: weights [row / 64][k][64], so that the column k of a block is one cache line of codes. The last block
// is as wide as its rows need, in steps of 8.
#include <algorithm>
#include <type_traits>

#include "runtime/aligned_buffer.h"
#include "runtime/linear_layer_packed.h"
#include "runtime/parallel.h"

namespace opq {
namespace {

int64_t padded(int64_t rows) { return (rows + kVector - 1) / kVector * kVector; }

template <typename T>
class DenseLinearLayer final : public LinearLayer {
 public:
  explicit DenseLinearLayer(const Weights& weights)
      : rows_(weights.rows),
        depth_(weights.depth),
        nonzeros_(weights.statistics->nonzeros),
        packed_(padded_rows() * depth_ * sizeof(T)) {
    std::fill_n(columns_of(0), padded_rows() * depth_, T{0});
    for (int64_t m = 0; m < rows_; ++m) {
      const int64_t width = width_of(m / kColumnRows);
      const T* row = row_of(weights, m);
      T* out = columns_of(m / kColumnRows) + m % kColumnRows;
      for (int64_t k = 0; k < depth_; ++k) out[k * width] = row[k];
    }
  }

  std::size_t scratch_floats(int64_t, int) const override { return 0; }

  void run(int64_t batch, const float* x, float* y, const Epilogue& epilogue, float*, ThreadPool& pool,
           const Kernels& kernels) const override {
    const int64_t blocks = (rows_ + kColumnRows - 1) / kColumnRows;
    parallel_ranges(pool, blocks, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t block = begin; block < end; ++block) {
        for (int64_t image = 0; image < batch; ++image) run_block(block, image, x, y, epilogue, kernels);
      }
    });
  }

  std::size_t packed_bytes() const override { return packed_.size(); }
  int64_t nonzeros() const override { return nonzeros_; }
  const char* kernel_name() const override { return "dense columns"; }

 private:
  void run_block(int64_t block, int64_t image, const float* x, float* y, const Epilogue& e,
                 const Kernels& kernels) const {
    alignas(64) float acc[kColumnRows];
    const int vectors = static_cast<int>(width_of(block) / kVector);
    const float* x_image = x + image * depth_;
    if constexpr (std::is_same_v<T, int8_t>) {
      kernels.columns_i8(columns_of(block), x_image, depth_, vectors, acc);
    } else {
      kernels.columns_f32(columns_of(block), x_image, depth_, vectors, acc);
    }
    const int64_t m = block * kColumnRows, offset = image * rows_ + m;
    kernels.finish_columns(acc, e.scale ? e.scale + m : nullptr, e.bias ? e.bias + m : nullptr,
                           e.residual ? e.residual + offset : nullptr, e.act, y + offset,
                           static_cast<int>(std::min<int64_t>(kColumnRows, rows_ - m)));
  }

  static const T* row_of(const Weights& weights, int64_t m) {
    if constexpr (std::is_same_v<T, int8_t>) {
      return weights.codes_of(m, 1);
    } else {
      return weights.values + m * weights.depth;
    }
  }
  int64_t padded_rows() const { return padded(rows_); }
  int64_t width_of(int64_t block) const { return std::min<int64_t>(kColumnRows, padded_rows() - block * kColumnRows); }
  T* columns_of(int64_t block) const { return reinterpret_cast<T*>(packed_.data()) + block * kColumnRows * depth_; }

  int64_t rows_, depth_, nonzeros_;
  AlignedBuffer packed_;
};

}  // namespace

std::unique_ptr<LinearLayer> pack_dense_linear(const Weights& weights) {
  if (weights.has_codes()) return std::make_unique<DenseLinearLayer<int8_t>>(weights);
  return std::make_unique<DenseLinearLayer<float>>(weights);
}

int64_t most_dense_linear_bytes(const Weights& weights) {
  const std::size_t element = weights.has_codes() ? sizeof(int8_t) : sizeof(float);
  return padded(weights.rows) * weights.depth * static_cast<int64_t>(element);
}

}  // namespace opq
