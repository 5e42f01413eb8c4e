// One run of a plan, or of a part of it.
#pragma once

#include "runtime/plan.h"

namespace opq {

// What a run needs of memory, and what it measures. `arena` has plan.arena_bytes(), `scratch` plan.scratch_floats() for
// the threads of `pool`.
struct PlanRun {
  const Network& network;
  const Plan& plan;
  std::byte* arena;
  float* scratch;
  ThreadPool& pool;
  const Kernels& kernels;
  std::vector<std::byte*>& addresses;  // by value: set here
  std::vector<double>& seconds;        // by step: each one's time is added

  // inputs: the caller's arrays, by graph input.
  void set_addresses(const std::vector<const std::byte*>& inputs) const;
  // Graph inputs that are held as integers.
  void hold_inputs(const std::vector<const std::byte*>& inputs) const;
  void run_steps() const;
  // The value on the grid that it is held on, as floats; other values as they are.
  void copy_value(int value, std::byte* out) const;
};

}  // namespace opq
