// A loop over many small items, cut into tasks of a fixed size: where the cuts are depends on the loop only, never on
// the threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

#include "runtime/thread_pool.h"

namespace opq {

// A parallel version of
//   for (int64_t begin = 0; begin < total; begin += grain) body(begin, min(begin + grain, total), thread);
// `grain` is raised where there would be too many tasks.
template <typename Body>
void parallel_ranges(ThreadPool& pool, int64_t total, int64_t grain, const Body& body) {
  constexpr int64_t kMaxTasks = 1 << 20;
  grain = std::max({int64_t{1}, grain, (total + kMaxTasks - 1) / kMaxTasks});
  const int tasks = static_cast<int>((total + grain - 1) / grain);
  const auto run = [&](int task, int thread) {
    const int64_t begin = task * grain;
    body(begin, std::min(begin + grain, total), thread);
  };
  if (tasks == 1) {
    run(0, 0);
  } else if (tasks > 1) {
    pool.parallel_for(tasks, std::ref(run));  // a reference: std::function would allocate for a copy
  }
}

inline constexpr int64_t kGrain = 16384;  // elements that make a task worth handing to a thread

// How many items of `work` elements each make one.
inline int64_t grain_of(int64_t work) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, work)); }

}  // namespace opq
