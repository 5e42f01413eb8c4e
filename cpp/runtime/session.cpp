#include "runtime/session.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "runtime/float_environment.h"
#include "runtime/memory_limit.h"
#include "runtime/shapes.h"

namespace opq {
namespace {

constexpr std::size_t kMaxPlans = 4;
constexpr int kMaxThreads = 1024;

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorCode::kInput, message); }

// "float32 [-1, 3, 224, 224]"
std::string describe(ElementType type, const Shape& shape) {
  return std::string(element_name(type)) + " " + to_string(shape);
}

bool fits(const Shape& shape, const Shape& declared) {
  return std::equal(shape.begin(), shape.end(), declared.begin(), declared.end(),
                    [](int64_t size, int64_t wanted) { return wanted == -1 || size == wanted; });
}

// Frees before it allocates, so that two buffers are never there together.
void grow(AlignedBuffer& buffer, std::size_t bytes) {
  if (bytes <= buffer.size()) return;
  buffer = {};
  buffer = AlignedBuffer(bytes);
}

}  // namespace

const Kernels& choose_kernels() {
  const KernelList list = supported_kernels();
  const char* name = std::getenv("OPQ_ISA");
  if (name == nullptr || *name == '\0') return *list.sets[0];
  if (const Kernels* kernels = find_kernels(name)) return *kernels;
  std::string names;
  for (int i = 0; i < list.count; ++i) names += (i > 0 ? ", " : "") + std::string(list.sets[i]->name);
  fail("OPQ_ISA is " + std::string(name) + ", this machine has: " + names);
}

void check_thread_count(int threads) {
  if (threads < 1 || threads > kMaxThreads) fail("threads is " + std::to_string(threads) + ", not 1 to 1024");
}

std::unique_ptr<ThreadPool> make_thread_pool(int threads) {
  check_thread_count(threads);
  try {
    return std::make_unique<ThreadPool>(threads);
  } catch (const std::system_error&) {
    fail("cannot start " + std::to_string(threads) + " threads");
  }
}

Session::Session(std::shared_ptr<const Network> network, int threads, bool keep_all)
    : network_(std::move(network)),
      kernels_(network_->kernels()),
      pool_(make_thread_pool(threads)),
      keep_all_(keep_all) {
  if (keep_all && network_->precision() != Precision::kFloat32) {
    fail("every value can be kept with float32 only: with integers, what is rounded depends on what is fused");
  }
  if (!network_->has_graph()) throw Error(ErrorCode::kUnsupported, "the file holds tensors only, no graph to run");
  const Graph& graph = network_->graph();
  is_output_.assign(graph.values.size(), keep_all);
  for (const Port& port : graph.outputs) is_output_[port.value] = true;
  for (std::size_t v = 0; v < graph.values.size(); ++v) value_of_.emplace(graph.values[v].name, static_cast<int>(v));
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    input_of_.emplace(graph.values[graph.inputs[i].value].name, static_cast<int>(i));
  }
  matched_.resize(graph.inputs.size());
  plans_.reserve(kMaxPlans);
}

std::vector<OutputArray> Session::run(std::span<const InputArray> inputs, std::span<const std::string> outputs) {
  const std::lock_guard lock(mutex_);
  const DefaultFloatEnvironment environment;
  match_inputs(inputs);
  for (const std::string& name : outputs) {
    const auto found = value_of_.find(name);
    if (found == value_of_.end() || !is_output_[found->second]) fail("the network has no output " + name);
  }
  CachedPlan& cached = prepare(outputs);
  const PlanRun all = run_of_all(cached);
  std::fill(cached.all.seconds.begin(), cached.all.seconds.end(), 0.0);
  all.set_addresses(cached.all.inputs);
  if (cached.plan.image) {
    run_images(cached, all);
  } else {
    all.hold_inputs(cached.all.inputs);
  }
  all.run_steps();
  std::vector<OutputArray> results;
  results.reserve(outputs.size());
  for (const std::string& name : outputs) {
    const int value = value_of_.at(name);
    if (cached.plan.all.places()[value].kind == Place::kNowhere) fail("value " + name + " is not computed");
    OutputArray result{network_->graph().values[value].type, cached.plan.all.shapes()[value], nullptr};
    const auto elements = static_cast<std::size_t>(element_count(result.shape));
    result.data = std::make_unique_for_overwrite<std::byte[]>(elements * element_size(result.type));
    all.copy_value(value, result.data.get());
    results.push_back(std::move(result));
  }
  return results;
}

// The first images one per thread, as many as all threads take alike; the others one after another by all threads.
void Session::run_images(CachedPlan& cached, const PlanRun& all) {
  const Plan& plan = *cached.plan.image;
  const auto images = static_cast<int>(cached.plan.images()), threads = pool_->threads();
  const int apart = images / threads * threads;
  const auto run_on = [&](int slot, ThreadPool& pool, std::vector<double>& seconds) {
    std::byte* arena = arena_.data() + align_up(all.plan.arena_bytes()) + slot * cached.image_arena_bytes();
    float* scratch = reinterpret_cast<float*>(scratch_.data()) + slot * cached.image_scratch_floats();
    Workspace& workspace = cached.images[slot];
    return PlanRun{*network_, plan, arena, scratch, pool, kernels_, workspace.addresses, seconds};
  };
  for (Workspace& workspace : cached.images) std::fill(workspace.seconds.begin(), workspace.seconds.end(), 0.0);
  const auto run_one = [&](int image, int thread) {
    Workspace& workspace = cached.images[thread];
    run_image(image, workspace, run_on(thread, caller_, workspace.seconds), all);
  };
  pool_->parallel_for(apart, std::ref(run_one));  // a reference: std::function would allocate for a copy
  for (const Workspace& workspace : cached.images) {
    for (std::size_t s = 0; s < cached.all.seconds.size(); ++s) cached.all.seconds[s] += workspace.seconds[s] / threads;
  }
  for (int image = apart; image < images; ++image) {
    run_image(image, cached.images[0], run_on(0, *pool_, cached.all.seconds), all);
  }
}

// Leaves what later steps read in the memory of all images.
void Session::run_image(int64_t image, Workspace& workspace, const PlanRun& run, const PlanRun& all) const {
  for (std::size_t i = 0; i < matched_.size(); ++i) {
    const auto elements = static_cast<std::size_t>(element_count(run.plan.inputs()[i]));
    workspace.inputs[i] = matched_[i]->data + image * elements * element_size(matched_[i]->type);
  }
  run.set_addresses(workspace.inputs);
  run.hold_inputs(workspace.inputs);
  run.run_steps();
  for (const int value : all.plan.given()) {
    const std::size_t bytes = run.plan.bytes_of(value);
    if (bytes > 0) std::memcpy(all.addresses[value] + image * bytes, run.addresses[value], bytes);
  }
}

// Puts the arrays in the order of the graph inputs.
void Session::match_inputs(std::span<const InputArray> inputs) {
  const Graph& graph = network_->graph();
  std::fill(matched_.begin(), matched_.end(), nullptr);
  for (const InputArray& array : inputs) {
    const auto found = input_of_.find(array.name);
    if (found == input_of_.end()) fail("the network has no input " + std::string(array.name));
    const Port& port = graph.inputs[found->second];
    if (array.type != port.type || !fits(array.shape, port.shape)) {
      fail("input " + std::string(array.name) + " is " + describe(array.type, array.shape) + ", expected " +
           describe(port.type, port.shape));
    }
    matched_[found->second] = &array;
  }
  for (std::size_t i = 0; i < matched_.size(); ++i) {
    if (matched_[i] == nullptr) fail("input " + graph.values[graph.inputs[i].value].name + " is missing");
  }
}

// The plan for the matched inputs, with memory to run it, moved to the front.
Session::CachedPlan& Session::prepare(std::span<const std::string> outputs) {
  const auto same_shapes = [this](const auto& cached) {
    return std::equal(matched_.begin(), matched_.end(), cached->plan.all.inputs().begin(),
                      [](const InputArray* array, const Shape& shape) { return array->shape == shape; });
  };
  auto found = std::find_if(plans_.begin(), plans_.end(), same_shapes);
  std::unique_ptr<CachedPlan> made;
  if (found == plans_.end()) made = make_plan();
  CachedPlan& cached = made ? *made : **found;
  check_memory(needed_bytes(cached, outputs), given_bytes(), pool_->threads());
  grow(arena_, cached.arena_bytes());
  grow(scratch_, cached.scratch_floats(pool_->threads()) * sizeof(float));
  for (std::size_t i = 0; i < matched_.size(); ++i) cached.all.inputs[i] = matched_[i]->data;
  // Nothing can fail from here on: the first plan is the one that has been run last.
  if (made) {
    if (plans_.size() == kMaxPlans) plans_.pop_back();
    plans_.push_back(std::move(made));
    found = plans_.end() - 1;
  }
  std::rotate(plans_.begin(), found, found + 1);
  return *plans_.front();
}

std::unique_ptr<Session::CachedPlan> Session::make_plan() const {
  std::vector<Shape> shapes;
  for (const InputArray* array : matched_) shapes.push_back(array->shape);
  BatchPlan plan(*network_, shapes, keep_all_, pool_->threads());
  const Workspace workspace{.inputs = std::vector<const std::byte*>(shapes.size()),
                            .addresses = std::vector<std::byte*>(plan.all.places().size()),
                            .seconds = std::vector<double>(plan.all.steps().size())};
  const std::size_t apart = plan.image ? static_cast<std::size_t>(pool_->threads()) : 0;
  return std::make_unique<CachedPlan>(
      CachedPlan{.plan = std::move(plan), .all = workspace, .images = std::vector<Workspace>(apart, workspace)});
}

// The arenas of all images and of each thread's image, one behind the other.
std::size_t Session::CachedPlan::arena_bytes() const {
  return align_up(plan.all.arena_bytes()) + images.size() * image_arena_bytes();
}

std::size_t Session::CachedPlan::image_arena_bytes() const {
  return plan.image ? align_up(plan.image->arena_bytes()) : 0;
}

// Never used together: what a step on all images needs, what one image needs of all threads, what each thread's image
// needs.
std::size_t Session::CachedPlan::scratch_floats(int threads) const {
  const std::size_t all = plan.all.scratch_floats(threads);
  if (!plan.image) return all;
  return std::max({all, plan.image->scratch_floats(threads), images.size() * image_scratch_floats()});
}

std::size_t Session::CachedPlan::image_scratch_floats() const {
  return align_up(plan.image->scratch_floats(1) * sizeof(float)) / sizeof(float);
}

PlanRun Session::run_of_all(CachedPlan& cached) const {
  return {*network_, cached.plan.all, arena_.data(),        reinterpret_cast<float*>(scratch_.data()),
          *pool_,    kernels_,        cached.all.addresses, cached.all.seconds};
}

// What one run takes. Results count as often as they are asked for, inputs and constants not at all: they are there.
double Session::needed_bytes(const CachedPlan& cached, std::span<const std::string> outputs) const {
  double bytes = static_cast<double>(cached.arena_bytes()) +
                 sizeof(float) * static_cast<double>(cached.scratch_floats(pool_->threads()));
  for (const std::string& name : outputs) {
    const int value = value_of_.at(name);
    const int64_t elements = element_count(cached.plan.all.shapes()[value]);
    bytes += static_cast<double>(elements) * element_size(network_->graph().values[value].type);
  }
  return bytes;
}

double Session::given_bytes() const {
  double bytes = static_cast<double>(network_->file_bytes());
  for (const InputArray* array : matched_) {
    bytes += static_cast<double>(element_count(array->shape)) * element_size(array->type);
  }
  return bytes;
}

std::vector<StepProfile> Session::profile() const {
  const std::lock_guard lock(mutex_);
  std::vector<StepProfile> steps;
  if (plans_.empty()) return steps;
  const CachedPlan& cached = *plans_.front();
  for (std::size_t s = 0; s < cached.all.seconds.size(); ++s) {
    const FusedNode& fused = cached.plan.all.steps()[s].fused;
    const Step& step = cached.plan.step(s);
    StepProfile profile{
        "", "", step.kernel_name(), cached.plan.all.shapes()[fused.output], step.nonzeros(), cached.all.seconds[s]};
    for (const std::size_t i : fused.nodes) {
      const Node& node = network_->graph().nodes[i];
      const char* separator = profile.op.empty() ? "" : "+";
      profile.name += separator + node.name;
      profile.op += std::string(separator) + operator_name(node.op);
    }
    steps.push_back(std::move(profile));
  }
  return steps;
}

std::size_t Session::arena_bytes() const {
  const std::lock_guard lock(mutex_);
  return arena_.size() + scratch_.size();
}

}  // namespace opq
