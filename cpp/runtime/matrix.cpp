#include "runtime/matrix.h"

#include <unistd.h>

#include <map>
#include <mutex>

#include "format/error.h"
#include "runtime/float_environment.h"
#include "runtime/session.h"

namespace opq {
namespace {

constexpr int64_t kLargest = (int64_t{1} << 31) - 1;

// Starting threads takes longer than a small product, so that pools are kept. One that is in use is not among them.
// The process is part of the key: the threads of a parent do not exist in its forked children.
class PoolCache {
 public:
  std::unique_ptr<ThreadPool> take(int threads) {
    {
      const std::lock_guard lock(mutex_);
      auto& pools = idle_[{getpid(), threads}];
      if (!pools.empty()) {
        auto pool = std::move(pools.back());
        pools.pop_back();
        return pool;
      }
    }
    return make_thread_pool(threads);
  }

  void give_back(std::unique_ptr<ThreadPool> pool) {
    const std::lock_guard lock(mutex_);
    auto& pools = idle_[{getpid(), pool->threads()}];
    pools.push_back(std::move(pool));
  }

  // Never destroyed: threads must not be joined while the process exits.
  static PoolCache& instance() {
    static PoolCache& cache = *new PoolCache;
    return cache;
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<pid_t, int>, std::vector<std::unique_ptr<ThreadPool>>> idle_;
};

}  // namespace

Matrix::Matrix(const int8_t* codes, int64_t rows, int64_t depth, std::vector<float> scale, bool single_column)
    : rows_(rows), depth_(depth), scale_(std::move(scale)) {
  if (rows < 1 || depth < 1 || rows > kLargest || depth > kLargest) {
    throw Error(ErrorCode::kInput, "codes have shape [" + std::to_string(rows) + ", " + std::to_string(depth) + "]");
  }
  const Weights weights{.codes = codes, .values = nullptr, .rows = rows, .depth = depth};
  if (single_column) {
    single_ = LinearLayer::pack(weights);
  } else {
    several_ = ConvLayer::pack(weights, {});
  }
}

void Matrix::matmul(const float* x, int64_t n, int threads, float* y) const {
  if (n == 0) return;
  if (n > (single_ ? 1 : kLargest)) throw Error(ErrorCode::kInput, "x has " + std::to_string(n) + " columns");
  const DefaultFloatEnvironment environment;
  const Kernels& kernels = choose_kernels();
  std::unique_ptr<ThreadPool> pool = PoolCache::instance().take(threads);
  const Epilogue epilogue{.scale = scale_.data(), .bias = nullptr, .residual = nullptr, .act = {}};
  if (single_) {
    const AlignedBuffer scratch(single_->scratch_floats(1, threads) * sizeof(float));
    single_->run(1, x, y, epilogue, reinterpret_cast<float*>(scratch.data()), *pool, kernels);
  } else {
    const ConvShape shape{
        .n = 1, .c = depth_, .h = 1, .w = n, .m = rows_, .out_h = 1, .out_w = n, .pad_top = 0, .pad_left = 0};
    const AlignedBuffer scratch(several_->scratch_floats(shape, threads) * sizeof(float));
    several_->run(shape, x, y, epilogue, reinterpret_cast<float*>(scratch.data()), *pool, kernels);
  }
  PoolCache::instance().give_back(std::move(pool));
}

std::size_t Matrix::packed_bytes() const {
  return (single_ ? single_->packed_bytes() : several_->packed_bytes()) + scale_.size() * sizeof(float);
}

}  // namespace opq
