#include "runtime/plan.h"

#include <algorithm>
#include <limits>

#include "runtime/arena.h"
#include "runtime/fusion.h"
#include "runtime/held.h"
#include "runtime/integer_planes.h"
#include "runtime/shapes.h"

namespace opq {
namespace {

constexpr std::size_t kForever = std::numeric_limits<std::size_t>::max();

// Steps that read each element of an input once, at the place where they write the result.
bool is_elementwise(Op op) { return op >= Op::kRelu && op <= Op::kDiv; }

// By value: the value whose memory it is a view of; itself if none.
std::vector<int> find_roots(const Graph& graph) {
  std::vector<int> roots(graph.values.size());
  for (std::size_t v = 0; v < roots.size(); ++v) roots[v] = static_cast<int>(v);
  for (const Node& node : graph.nodes) {
    if (is_view(node.op)) roots[node.output] = roots[node.inputs[0]];
  }
  return roots;
}

}  // namespace

Plan::Plan(const Network& network, std::vector<Shape> inputs, bool keep_all, int threads) : inputs_(std::move(inputs)) {
  shapes_ = infer_shapes(network.graph(), network.tensors(), inputs_);
  std::vector<FusedNode> chains = fuse_nodes(network, shapes_, !keep_all);
  held_ = hold_values(network, chains);
  for (FusedNode& fused : chains) {
    std::unique_ptr<Step> step = make_step({network, shapes_, fused, held_});
    scratch_floats_ = std::max(scratch_floats_, step->scratch_floats(threads));
    steps_.push_back({std::move(fused), std::move(step)});
  }
  place_values(network, keep_all);
}

void Plan::place_values(const Network& network, bool keep_all) {
  const Graph& graph = network.graph();
  const std::vector<int> roots = find_roots(graph);

  std::vector<std::size_t> last_use(graph.values.size(), 0);  // by root: the last step that reads it
  for (std::size_t s = 0; s < steps_.size(); ++s) {
    for (const int value : operands(graph, steps_[s].fused)) last_use[roots[value]] = s;
  }
  for (const Port& port : graph.outputs) last_use[roots[port.value]] = kForever;
  if (keep_all) std::fill(last_use.begin(), last_use.end(), kForever);

  places_.resize(graph.values.size());
  for (std::size_t v = 0; v < places_.size(); ++v) {
    const int tensor = graph.values[v].tensor;
    if (tensor >= 0 && network.constant(tensor) != nullptr) places_[v] = {Place::kConstant, 0, tensor};
  }
  ArenaLayout arena;
  const auto bytes_of = [&](int value) {
    const std::size_t element =
        held_[value] ? element_size(network.precision()) : element_size(graph.values[value].type);
    return align_up(static_cast<std::size_t>(element_count(shapes_[value])) * element);
  };
  std::vector<std::vector<int>> dying(steps_.size());  // by step: the roots whose memory is free after it
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    const int value = graph.inputs[i].value;
    if (!held_[value]) {
      places_[value] = {Place::kInput, 0, static_cast<int>(i)};
      continue;
    }
    places_[value] = {Place::kArena, arena.allocate(bytes_of(value)), 0};
    if (last_use[value] != kForever && !steps_.empty()) dying[last_use[value]].push_back(value);
  }
  for (std::size_t s = 0; s < steps_.size(); ++s) {
    const FusedNode& fused = steps_[s].fused;
    const int output = fused.output;
    int reused = kAbsent;
    if (is_elementwise(graph.nodes[fused.node].op)) {
      for (const int value : operands(graph, fused)) {
        const int root = roots[value];
        const bool dies = places_[root].kind == Place::kArena && last_use[root] == s;
        const bool fits = element_count(shapes_[value]) == element_count(shapes_[output]) &&
                          held_[value].has_value() == held_[output].has_value();
        if (dies && fits) reused = root;
      }
    }
    if (reused != kAbsent) {
      places_[output] = places_[reused];
      std::erase(dying[s], reused);
    } else {
      places_[output] = {Place::kArena, arena.allocate(bytes_of(output)), 0};
    }
    if (last_use[output] != kForever) {
      last_use[output] = std::max(last_use[output], s);  // a value that nobody reads dies where it is born
      dying[last_use[output]].push_back(output);
    }
    for (const int root : dying[s]) arena.release(places_[root].offset, bytes_of(root));
  }
  // Kernels read values that are held in whole chunks.
  const bool is_held = network.precision() != Precision::kFloat32 && arena.size() > 0;
  arena_bytes_ = arena.size() + (is_held ? kIntegerSlack * sizeof(int16_t) : 0);
  for (std::size_t v = 0; v < places_.size(); ++v) places_[v] = places_[roots[v]];
}

}  // namespace opq
