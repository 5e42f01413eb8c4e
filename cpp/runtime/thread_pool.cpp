// Every thread has a range of tasks of its own, one 64-bit word: its first task that is still to be taken in the upper
// half, the one behind its last in the lower half. A thread takes tasks from the front of its range, then from the back
// of other ranges, by compare-and-swap. So neighbouring tasks mostly fall to one thread, and the same ones in loop
// after loop of the same number of tasks: what a thread reads, it often has written, and it is in its cache.
//
// A worker that comes late, or that slept through several loops, either takes a task of the loop that is running or
// finds nothing; it can never hold an old loop's function: a loop ends only when all of its tasks are done, and the
// function is read only between taking a task and finishing it. Nobody waits for workers that sleep.
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

  struct alignas(64) Range {  // a cache line of its own
    std::atomic<uint64_t> word{0};
  };

  std::vector<Range> ranges;           // by thread
  std::atomic<uint32_t> loops{0};      // started so far
  std::atomic<int> unfinished{0};      // tasks taken or to be taken, but not known as done
  const Function* function = nullptr;  // of the running loop; written while no task of an earlier one is unfinished
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

  explicit Impl(int threads) : ranges(static_cast<std::size_t>(threads)) {}

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    wake_workers.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  // The next task of a range, from its front or its back; -1 if there is none.
  static int take(std::atomic<uint64_t>& word, bool from_back) {
    uint64_t seen = word.load(std::memory_order_acquire);
    while (true) {
      const auto begin = static_cast<uint32_t>(seen >> 32), end = static_cast<uint32_t>(seen);
      if (begin >= end) return -1;
      const uint64_t rest = from_back ? seen - 1 : seen + (uint64_t{1} << 32);
      if (!word.compare_exchange_weak(seen, rest, std::memory_order_acquire)) continue;
      return static_cast<int>(from_back ? end - 1 : begin);
    }
  }

  // Runs tasks until there is none left to take.
  void work(int thread) {
    const auto own = static_cast<std::size_t>(thread);
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      std::atomic<uint64_t>& word = ranges[(own + i) % ranges.size()].word;
      int done = 0;
      for (int task; (task = take(word, i > 0)) >= 0; ++done) (*function)(task, thread);
      if (done > 0) finish(done);
    }
  }

  void finish(int done) {
    if (unfinished.fetch_sub(done) != done || !caller_sleeps.load()) return;
    {
      const std::lock_guard lock(mutex);
    }  // the caller is either before its check of `unfinished`, or waiting
    wake_caller.notify_one();
  }

  void start(int tasks, const Function& run) {
    function = &run;
    unfinished = tasks;
    const auto threads = static_cast<int64_t>(ranges.size());
    for (int64_t thread = 0; thread < threads; ++thread) {
      const auto begin = static_cast<uint64_t>(tasks * thread / threads);
      const auto end = static_cast<uint64_t>(tasks * (thread + 1) / threads);
      ranges[static_cast<std::size_t>(thread)].word.store(begin << 32 | end, std::memory_order_release);
    }
    ++loops;
    if (sleeping_workers == 0) return;
    placement.keep_off_this_processor(workers);
    {
      const std::lock_guard lock(mutex);
    }  // a worker is either before its check for another loop, or waiting
    wake_workers.notify_all();
  }

  void worker_loop(int thread) {
    std::fesetenv(FE_DFL_ENV);  // threads inherit their maker's, see float_environment.h
    while (!stop) {
      const uint32_t seen = loops;
      const auto is_called = [&] { return loops != seen || stop; };
      work(thread);
      if (spin_until(is_called, spin_time)) continue;
      std::unique_lock lock(mutex);
      // Announced before `loops` is read for the last time, as the caller counts its loop before it asks for sleepers:
      // one of the two sees the other.
      ++sleeping_workers;
      wake_workers.wait(lock, is_called);
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

ThreadPool::ThreadPool(int threads) : threads_(threads), impl_(std::make_unique<Impl>(threads)) {
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
  impl_->start(tasks, run);
  impl_->work(0);
  impl_->wait_for_the_last_tasks();
}

}  // namespace opq
