// Runs a network: one thread pool, activation memory, and the plans of the last input shapes.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/batch_plan.h"
#include "runtime/plan_run.h"

namespace opq {

// The kernels that the environment variable OPQ_ISA names, else the best ones of this machine.
// Throws Error(kInput) for a name that is unknown or that this machine cannot run.
const Kernels& choose_kernels();

// Throws Error(kInput) unless 1 <= threads <= 1024.
void check_thread_count(int threads);

// Throws Error(kInput) for a wrong count, and where so many cannot be started.
std::unique_ptr<ThreadPool> make_thread_pool(int threads);

// Elements in C order, aligned for their type.
struct InputArray {
  std::string_view name;
  ElementType type;
  Shape shape;
  const std::byte* data;
};

struct OutputArray {
  ElementType type;
  Shape shape;
  std::unique_ptr<std::byte[]> data;
};

// One step of the last run. `name` and `op` list what was fused into it: "conv1+relu1", "Conv+Relu". Of steps that ran
// on several images at once, one per thread, the seconds of all threads are divided by their number.
struct StepProfile {
  std::string name, op, kernel;
  Shape shape;       // of the output
  int64_t nonzeros;  // of the weights; 0 without weights
  double seconds;
};

// May be used by several threads at once: run() waits for its turn.
class Session {
 public:
  // With `keep_all` every value can be asked for as an output; nothing is fused then and no memory used twice.
  Session(std::shared_ptr<const Network> network, int threads, bool keep_all);

  // One array per graph input, in any order. Returns the values called `outputs`. After the first run with the same
  // shapes nothing is allocated but the results. Throws Error(kInput), also where the run would take more memory than
  // the machine has: before any is taken.
  std::vector<OutputArray> run(std::span<const InputArray> inputs, std::span<const std::string> outputs);

  std::vector<StepProfile> profile() const;  // of the last run; empty before the first one
  int threads() const { return pool_->threads(); }
  const char* isa() const { return kernels_.name; }
  std::size_t arena_bytes() const;  // activations and scratch memory, so far

 private:
  // Where one run of a plan happens.
  struct Workspace {
    std::vector<const std::byte*> inputs;  // by graph input
    std::vector<std::byte*> addresses;     // by value
    std::vector<double> seconds;           // by step: of the last run
  };
  struct CachedPlan {
    BatchPlan plan;
    Workspace all;
    std::vector<Workspace> images;  // by thread; none without plan.image

    std::size_t image_arena_bytes() const, arena_bytes() const;
    std::size_t image_scratch_floats() const, scratch_floats(int threads) const;
  };

  void match_inputs(std::span<const InputArray> inputs);
  CachedPlan& prepare(std::span<const std::string> outputs);
  std::unique_ptr<CachedPlan> make_plan() const;
  double needed_bytes(const CachedPlan& cached, std::span<const std::string> outputs) const;
  double given_bytes() const;
  PlanRun run_of_all(CachedPlan& cached) const;
  void run_images(CachedPlan& cached, const PlanRun& all);
  void run_image(int64_t image, Workspace& workspace, const PlanRun& run, const PlanRun& all) const;

  const std::shared_ptr<const Network> network_;
  const Kernels& kernels_;
  const std::unique_ptr<ThreadPool> pool_;
  const bool keep_all_;
  std::unordered_map<std::string_view, int> value_of_, input_of_;  // by name: values, graph inputs
  std::vector<bool> is_output_;                                    // by value: may be asked for

  mutable std::mutex mutex_;                        // guards what follows
  std::vector<std::unique_ptr<CachedPlan>> plans_;  // the last run's first
  std::vector<const InputArray*> matched_;          // the arrays of this run, by graph input
  ThreadPool caller_{1};                            // for a thread that runs an image by itself
  AlignedBuffer arena_, scratch_;
};

}  // namespace opq
