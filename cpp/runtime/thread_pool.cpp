// The loop's state is one 64-bit word: the loop's number in the upper half, how many tasks are still to be taken in the
// lower half.
//
// A thread takes a task by lowering the word by one with compare-and-swap. So a worker that comes late, or that slept
// through several loops, either takes a task of the loop that is running or finds nothing; it can never hold an old
// loop's function: a loop ends only when all of its tasks are done, and the function is read only between taking a task
// and finishing it. Nobody waits for workers that sleep.
#include "runtime/thread_pool.h"

#include <pthread.h>

#include <atomic>
#include <cfenv>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/placement.h"

namespace opq {
namespace {

// How long a thread looks for work before it sleeps: longer than the gap between two loops, shorter than waking up pays
// for.
constexpr std::chrono::microseconds kSpinTime{40};

// How often this process has been forked off: the threads of a pool that was made before do not exist here.
std::atomic<uint32_t> forks{0};
const int fork_handler = pthread_atfork(nullptr, nullptr, [] { ++forks; });

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until ready() or for `time`. Returns ready().
template <typename Ready>
bool spin_until(const Ready& ready, std::chrono::microseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

}  // namespace

struct ThreadPool::Impl {
  using Function = std::function<void(int, int)>;

  std::atomic<uint64_t> state{0};      // loop << 32 | tasks to take
  std::atomic<int> unfinished{0};      // tasks taken or to be taken, but not done
  const Function* function = nullptr;  // of the running loop; written while no task of an earlier one is unfinished
  int tasks = 0;
  const uint32_t made_in = forks;

  // With more threads than cores, spinning would keep a core from the thread that is waited for.
  std::chrono::microseconds spin_time{0};

  std::mutex mutex;
  std::condition_variable wake_workers, wake_caller;
  std::atomic<int> sleeping_workers{0};
  std::atomic<bool> caller_sleeps{false};
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers;
  Placement placement;

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    wake_workers.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  bool has_tasks() const { return static_cast<uint32_t>(state.load()) > 0; }

  // Runs tasks until there is none left to take.
  void work(int thread) {
    uint64_t seen = state.load(std::memory_order_acquire);
    while (static_cast<uint32_t>(seen) > 0) {
      if (!state.compare_exchange_weak(seen, seen - 1, std::memory_order_acquire)) continue;
      (*function)(tasks - static_cast<int>(static_cast<uint32_t>(seen)), thread);
      if (unfinished.fetch_sub(1) == 1 && caller_sleeps.load()) {
        {
          const std::lock_guard lock(mutex);
        }  // the caller is either before its check of `unfinished`, or waiting
        wake_caller.notify_one();
      }
      seen = state.load(std::memory_order_acquire);
    }
  }

  void worker_loop(int thread) {
    std::fesetenv(FE_DFL_ENV);  // threads inherit their maker's, see float_environment.h
    while (!stop) {
      work(thread);
      if (spin_until([&] { return has_tasks() || stop; }, spin_time)) continue;
      std::unique_lock lock(mutex);
      // Announced before has_tasks() is asked for the last time, as the caller publishes tasks before it asks for
      // sleepers: one of the two sees the other.
      ++sleeping_workers;
      wake_workers.wait(lock, [&] { return has_tasks() || stop; });
      --sleeping_workers;
    }
  }

  void wait_for_the_last_tasks() {
    const auto done = [&] { return unfinished.load() == 0; };
    if (spin_until(done, spin_time)) return;
    std::unique_lock lock(mutex);
    caller_sleeps = true;
    wake_caller.wait(lock, done);
    caller_sleeps = false;
  }
};

ThreadPool::ThreadPool(int threads) : threads_(threads), impl_(std::make_unique<Impl>()) {
  if (threads <= static_cast<int>(std::thread::hardware_concurrency())) impl_->spin_time = kSpinTime;
  impl_->workers.reserve(threads - 1);
  for (int thread = 1; thread < threads; ++thread) {
    impl_->workers.emplace_back([impl = impl_.get(), thread] { impl->worker_loop(thread); });
  }
  impl_->placement.keep_off_this_processor(impl_->workers);
}

ThreadPool::~ThreadPool() {
  // After a fork there is nothing to join, and the mutex may have been locked.
  if (impl_->made_in != forks) static_cast<void>(impl_.release());
}

void ThreadPool::parallel_for(int tasks, const std::function<void(int task, int thread)>& run) {
  if (threads_ == 1 || tasks <= 1 || impl_->made_in != forks) {
    for (int task = 0; task < tasks; ++task) run(task, 0);
    return;
  }
  Impl& impl = *impl_;
  impl.function = &run;
  impl.tasks = tasks;
  impl.unfinished = tasks;
  const uint64_t loop = (impl.state.load() >> 32) + 1;
  impl.state = loop << 32 | static_cast<uint32_t>(tasks);
  if (impl.sleeping_workers > 0) {
    impl.placement.keep_off_this_processor(impl.workers);
    {
      const std::lock_guard lock(impl.mutex);
    }  // a worker is either before its check for tasks, or waiting
    impl.wake_workers.notify_all();
  }
  impl.work(0);
  impl.wait_for_the_last_tasks();
}

}  // namespace opq
