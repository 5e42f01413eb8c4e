// A fixed number of threads that run the tasks of one loop after another.
#pragma once

#include <functional>
#include <memory>

namespace opq {

class ThreadPool {
 public:
  // threads >= 1 counts the caller: ThreadPool(1) starts none.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // A parallel version of
  //   for (int task = 0; task < tasks; ++task) run(task, thread);
  // where 0 <= thread < threads() tells which scratch memory is the task's own. A thread starts
  // with its share of neighbouring tasks, in ascending order; which thread takes which is not determined. `run` must
  // not throw. One parallel_for at a time; of a pool of one thread, which is its caller, any number.
  void parallel_for(int tasks, const std::function<void(int task, int thread)>& run);

 private:
  struct Impl;
  int threads_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace opq
