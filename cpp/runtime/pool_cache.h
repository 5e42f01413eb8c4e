// Thread pools that outlive a call: starting threads takes longer than a small product or a pass over a small layer.
#pragma once

#include <memory>

#include "runtime/thread_pool.h"

namespace opq {

// A pool for the time of one call, which nobody else uses meanwhile. The last pools are kept for the next calls.
class PooledThreads {
 public:
  // threads: 1 to 1024, the caller included. Throws Error(kInput).
  explicit PooledThreads(int threads);
  ~PooledThreads();
  PooledThreads(const PooledThreads&) = delete;
  PooledThreads& operator=(const PooledThreads&) = delete;

  ThreadPool& pool() { return *pool_; }

 private:
  std::unique_ptr<ThreadPool> pool_;
};

}  // namespace opq
