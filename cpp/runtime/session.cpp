#include "runtime/session.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "runtime/float_environment.h"
#include "runtime/memory_limit.h"
#include "runtime/parallel.h"
#include "runtime/shapes.h"

namespace opq {
namespace {

constexpr std::size_t kMaxPlans = 4;
constexpr int kMaxThreads = 1024;
constexpr int64_t kGrain = 16384;  // elements per task

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
    : network_(std::move(network)), kernels_(choose_kernels()), pool_(make_thread_pool(threads)), keep_all_(keep_all) {
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
  set_addresses(cached);
  const Execution execution{cached.addresses.data(), reinterpret_cast<float*>(scratch_.data()), *pool_, kernels_};
  hold_inputs(cached);
  auto before = std::chrono::steady_clock::now();
  for (std::size_t s = 0; s < cached.plan.steps().size(); ++s) {
    cached.plan.steps()[s].step->run(execution);
    const auto after = std::chrono::steady_clock::now();
    cached.seconds[s] = std::chrono::duration<double>(after - before).count();
    before = after;
  }
  std::vector<OutputArray> results;
  results.reserve(outputs.size());
  for (const std::string& name : outputs) results.push_back(copy_output(cached, name));
  return results;
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
    return std::equal(matched_.begin(), matched_.end(), cached->plan.inputs().begin(),
                      [](const InputArray* array, const Shape& shape) { return array->shape == shape; });
  };
  auto found = std::find_if(plans_.begin(), plans_.end(), same_shapes);
  std::unique_ptr<CachedPlan> made;
  if (found == plans_.end()) {
    std::vector<Shape> shapes;
    for (const InputArray* array : matched_) shapes.push_back(array->shape);
    Plan plan(*network_, std::move(shapes), keep_all_, pool_->threads());
    std::vector<std::byte*> addresses(plan.places().size());
    std::vector<double> seconds(plan.steps().size());
    made.reset(new CachedPlan{std::move(plan), std::move(addresses), std::move(seconds)});
  }
  const Plan& plan = made ? made->plan : (*found)->plan;
  check_memory(needed_bytes(plan, outputs), given_bytes(), pool_->threads());
  grow(arena_, plan.arena_bytes());
  grow(scratch_, plan.scratch_floats() * sizeof(float));
  // Nothing can fail from here on: the first plan is the one that has been run last.
  if (made) {
    if (plans_.size() == kMaxPlans) plans_.pop_back();
    plans_.push_back(std::move(made));
    found = plans_.end() - 1;
  }
  std::rotate(plans_.begin(), found, found + 1);
  return *plans_.front();
}

// What one run takes. Results count as often as they are asked for, inputs and constants not at all: they are there.
double Session::needed_bytes(const Plan& plan, std::span<const std::string> outputs) const {
  double bytes = static_cast<double>(plan.arena_bytes()) + sizeof(float) * static_cast<double>(plan.scratch_floats());
  for (const std::string& name : outputs) {
    const int value = value_of_.at(name);
    const int64_t elements = element_count(plan.shapes()[value]);
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

void Session::set_addresses(CachedPlan& cached) {
  const std::vector<Place>& places = cached.plan.places();
  for (std::size_t v = 0; v < places.size(); ++v) {
    switch (places[v].kind) {
      case Place::kNowhere:
        cached.addresses[v] = nullptr;
        break;
      case Place::kArena:
        cached.addresses[v] = arena_.data() + places[v].offset;
        break;
      // Steps write to the arena only.
      case Place::kConstant:
        cached.addresses[v] = const_cast<std::byte*>(network_->constant(places[v].index));
        break;
      case Place::kInput:
        cached.addresses[v] = const_cast<std::byte*>(matched_[places[v].index]->data);
        break;
    }
  }
}

// Graph inputs that are held as integers.
void Session::hold_inputs(const CachedPlan& cached) {
  const Graph& graph = network_->graph();
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    const int value = graph.inputs[i].value;
    const std::optional<Grid>& grid = cached.plan.held()[value];
    if (!grid) continue;
    const auto* x = reinterpret_cast<const float*>(matched_[i]->data);
    with_held_type(network_->precision(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      T* q = reinterpret_cast<T*>(cached.addresses[value]);
      parallel_ranges(*pool_, element_count(cached.plan.shapes()[value]), kGrain, [&](int64_t begin, int64_t end, int) {
        quantize(x + begin, *grid, q + begin, static_cast<std::size_t>(end - begin), kernels_);
      });
    });
  }
}

OutputArray Session::copy_output(const CachedPlan& cached, const std::string& name) const {
  const int value = value_of_.at(name);
  if (cached.plan.places()[value].kind == Place::kNowhere) fail("value " + name + " is not computed");
  OutputArray result{network_->graph().values[value].type, cached.plan.shapes()[value], nullptr};
  const std::size_t bytes = static_cast<std::size_t>(element_count(result.shape)) * element_size(result.type);
  result.data = std::make_unique_for_overwrite<std::byte[]>(bytes);
  if (const std::optional<Grid>& grid = cached.plan.held()[value]) {
    with_held_type(network_->precision(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      dequantize(reinterpret_cast<const T*>(cached.addresses[value]), *grid,
                 reinterpret_cast<float*>(result.data.get()), static_cast<std::size_t>(element_count(result.shape)),
                 kernels_);
    });
  } else if (bytes > 0) {
    std::memcpy(result.data.get(), cached.addresses[value], bytes);
  }
  return result;
}

std::vector<StepProfile> Session::profile() const {
  const std::lock_guard lock(mutex_);
  std::vector<StepProfile> steps;
  if (plans_.empty()) return steps;
  const CachedPlan& cached = *plans_.front();
  for (std::size_t s = 0; s < cached.seconds.size(); ++s) {
    const auto& [fused, step] = cached.plan.steps()[s];
    StepProfile profile{
        "", "", step->kernel_name(), cached.plan.shapes()[fused.output], step->nonzeros(), cached.seconds[s]};
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
