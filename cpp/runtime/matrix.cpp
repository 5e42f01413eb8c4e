#include "runtime/matrix.h"

#include "format/error.h"
#include "runtime/float_environment.h"
#include "runtime/kernel_choice.h"
#include "runtime/pool_cache.h"
#include "runtime/session.h"

namespace opq {
namespace {

constexpr int64_t kLargest = (int64_t{1} << 31) - 1;

}  // namespace

Matrix::Matrix(const int8_t* codes, int64_t rows, int64_t depth, std::vector<float> scale, bool single_column)
    : rows_(rows), depth_(depth), scale_(std::move(scale)) {
  if (rows < 1 || depth < 1 || rows > kLargest || depth > kLargest) {
    throw Error(ErrorCode::kInput, "codes have shape [" + std::to_string(rows) + ", " + std::to_string(depth) + "]");
  }
  Weights weights{.codes = codes, .rows = rows, .depth = depth};
  const WeightStatistics statistics = statistics_of(weights, {.column_nonzeros = single_column});
  weights.statistics = &statistics;
  if (single_column) {
    single_ = LinearLayer::pack(weights, cheapest(kernel_options(facts_of(weights, nullptr, Precision::kFloat32))));
  } else {
    const ConvGeometry geometry;
    const LayerFacts facts = facts_of(weights, &geometry, Precision::kFloat32);
    several_ = ConvLayer::pack(weights, geometry, cheapest(kernel_options(facts)));
  }
}

void Matrix::matmul(const float* x, int64_t n, int threads, float* y) const {
  PooledThreads pooled(threads);
  if (n == 0) return;
  if (n > (single_ ? 1 : kLargest)) throw Error(ErrorCode::kInput, "x has " + std::to_string(n) + " columns");
  const DefaultFloatEnvironment environment;
  const Kernels& kernels = choose_kernels();
  ThreadPool& pool = pooled.pool();
  const Epilogue epilogue{.scale = scale_.data(), .bias = nullptr, .residual = nullptr, .act = {}};
  if (single_) {
    const AlignedBuffer scratch(single_->scratch_floats(1, threads) * sizeof(float));
    single_->run(1, x, y, epilogue, reinterpret_cast<float*>(scratch.data()), pool, kernels);
  } else {
    const ConvShape shape{
        .n = 1, .c = depth_, .h = 1, .w = n, .m = rows_, .out_h = 1, .out_w = n, .pad_top = 0, .pad_left = 0};
    const AlignedBuffer scratch(several_->scratch_floats(shape, threads) * sizeof(float));
    several_->run(shape, x, y, epilogue, reinterpret_cast<float*>(scratch.data()), pool, kernels);
  }
}

std::size_t Matrix::packed_bytes() const {
  return (single_ ? single_->packed_bytes() : several_->packed_bytes()) + scale_.size() * sizeof(float);
}

}  // namespace opq
