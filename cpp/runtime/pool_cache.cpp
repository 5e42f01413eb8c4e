#include "runtime/pool_cache.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <mutex>
#include <vector>

#include "runtime/session.h"

namespace opq {
namespace {

class PoolCache {
 public:
  PoolCache() { idle_.reserve(kMaxIdle); }  // giving back does not allocate, so that a destructor may do it

  // A pool that is in use is not among the idle ones.
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

PooledThreads::PooledThreads(int threads) {
  check_thread_count(threads);
  pool_ = PoolCache::instance().take(threads);
}

PooledThreads::~PooledThreads() { PoolCache::instance().give_back(std::move(pool_)); }

}  // namespace opq
