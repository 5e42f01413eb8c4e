#include "runtime/plan_run.h"

#include <chrono>
#include <cstring>

#include "runtime/parallel.h"
#include "runtime/shapes.h"

namespace opq {

void PlanRun::set_addresses(const std::vector<const std::byte*>& inputs) const {
  const std::vector<Place>& places = plan.places();
  for (std::size_t v = 0; v < places.size(); ++v) {
    switch (places[v].kind) {
      case Place::kNowhere:
        addresses[v] = nullptr;
        break;
      case Place::kArena:
        addresses[v] = arena + places[v].offset;
        break;
      // Steps write to the arena only.
      case Place::kConstant:
        addresses[v] = const_cast<std::byte*>(network.constant(places[v].index));
        break;
      case Place::kInput:
        addresses[v] = const_cast<std::byte*>(inputs[static_cast<std::size_t>(places[v].index)]);
        break;
    }
  }
}

void PlanRun::hold_inputs(const std::vector<const std::byte*>& inputs) const {
  const Graph& graph = network.graph();
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    const int value = graph.inputs[i].value;
    const std::optional<Grid>& grid = plan.held()[value];
    if (!grid) continue;
    const auto* x = reinterpret_cast<const float*>(inputs[i]);
    with_held_type(network.precision(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      T* q = reinterpret_cast<T*>(addresses[value]);
      parallel_ranges(pool, element_count(plan.shapes()[value]), kGrain, [&](int64_t begin, int64_t end, int) {
        quantize(x + begin, *grid, q + begin, static_cast<std::size_t>(end - begin), kernels);
      });
    });
  }
}

void PlanRun::run_steps() const {
  const Execution execution{addresses.data(), scratch, pool, kernels};
  auto before = std::chrono::steady_clock::now();
  for (std::size_t s = plan.first(); s < plan.last(); ++s) {
    plan.steps()[s].step->run(execution);
    const auto after = std::chrono::steady_clock::now();
    seconds[s] += std::chrono::duration<double>(after - before).count();
    before = after;
  }
}

void PlanRun::copy_value(int value, std::byte* out) const {
  const auto elements = static_cast<std::size_t>(element_count(plan.shapes()[value]));
  if (const std::optional<Grid>& grid = plan.held()[value]) {
    with_held_type(network.precision(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      dequantize(reinterpret_cast<const T*>(addresses[value]), *grid, reinterpret_cast<float*>(out), elements, kernels);
    });
  } else if (elements > 0) {
    std::memcpy(out, addresses[value], elements * element_size(network.graph().values[value].type));
  }
}

}  // namespace opq
