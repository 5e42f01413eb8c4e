// How a codec runs independent tasks: the caller brings the threads.
#pragma once

#include <functional>

namespace opq {

struct Parallel {
  using Task = std::function<void(int task, int thread)>;

  int threads = 1;
  // Runs run(task, thread) for every task < tasks, 0 <= thread < threads; tasks must not throw.
  std::function<void(int tasks, const Task& run)> run = [](int tasks, const Task& task_run) {
    for (int task = 0; task < tasks; ++task) task_run(task, 0);
  };
};

}  // namespace opq
