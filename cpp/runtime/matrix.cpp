#include "runtime/matrix.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <mutex>

#include "format/error.h"
#include "runtime/float_environment.h"
#include "runtime/session.h"

namespace opq {
namespace {

constexpr int64_t kLargest = (int64_t{1} << 31) - 1;

// Starting threads takes longer than a small product, so that the last pools are kept. One that is in use is not among
// them.
class PoolCache {
 public:
  std::unique_ptr<ThreadPool> take(int threads) {
    {
      const std::lock_guard lock(mutex_);
      const auto found = std::find_if(idle_.rbegin(), idle_.rend(),
                                      [threads](const auto& pool) { return pool->threads() == threads; });
      if (found != idle_.rend()) {
        auto pool = std::move(*found);
        idle_.erase(std::next(found).base());
        return pool;
      }
    }
    return make_thread_pool(threads);
  }

  void give_back(std::unique_ptr<ThreadPool> pool) {
    std::unique_ptr<ThreadPool> oldest;  // its threads are joined after the lock is released
    const std::lock_guard lock(mutex_);
    if (idle_.size() == kMaxIdle) {
      oldest = std::move(idle_.front());
      idle_.erase(idle_.begin());
    }
    idle_.push_back(std::move(pool));
  }

  // The process's own: in a forked child the parent's threads do not exist, and its lock may be held for ever. Never
  // destroyed: threads must not be joined while the process exits.
  static PoolCache& instance() {
    static std::atomic<PoolCache*> current{nullptr};
    PoolCache* cache = current.load();
    while (cache == nullptr || cache->process_ != getpid()) {
      auto made = std::make_unique<PoolCache>();
      if (current.compare_exchange_strong(cache, made.get())) return *made.release();
    }
    return *cache;
  }

 private:
  static constexpr std::size_t kMaxIdle = 4;

  const pid_t process_ = getpid();
  std::mutex mutex_;
  std::vector<std::unique_ptr<ThreadPool>> idle_;  // the last given back behind the others
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
  check_thread_count(threads);
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
