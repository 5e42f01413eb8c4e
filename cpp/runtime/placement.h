// Keeps a pool's workers off the processor that its caller runs on.
//
// A scheduler may put a new or woken thread on the processor of the one that woke it, though others are idle. There it
// waits for a time slice, some milliseconds, in which the caller does all the work: after a rest of 0.2 s, two threads
// took as long as one for a loop of 12 ms.
#pragma once

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

#include <thread>
#include <vector>

namespace opq {

#if defined(__linux__)

class Placement {
 public:
  Placement() {
    if (sched_getaffinity(0, sizeof(allowed_), &allowed_) != 0) CPU_ZERO(&allowed_);
  }

  // To be called by the caller before it wakes `workers`; costs a system call only where it has moved.
  void keep_off_this_processor(std::vector<std::thread>& workers) {
    const int here = sched_getcpu();
    if (here == kept_off_ || here < 0 || CPU_COUNT(&allowed_) <= static_cast<int>(workers.size())) return;
    cpu_set_t others = allowed_;
    CPU_CLR(static_cast<std::size_t>(here), &others);
    for (std::thread& worker : workers) pthread_setaffinity_np(worker.native_handle(), sizeof(others), &others);
    kept_off_ = here;
  }

 private:
  cpu_set_t allowed_;
  int kept_off_ = -1;
};

#else

class Placement {
 public:
  void keep_off_this_processor(std::vector<std::thread>&) {}
};

#endif

}  // namespace opq
