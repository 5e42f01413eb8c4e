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

Plan::Plan(const Network& network, std::vector<Shape> inputs, bool keep_all, std::size_t first, std::size_t last)
    : inputs_(std::move(inputs)), first_(first) {
  const Graph& graph = network.graph();
  shapes_ = infer_shapes(graph, network.tensors(), inputs_);
  std::vector<FusedNode> chains = fuse_nodes(network, shapes_, !keep_all);
  last_ = std::min(last, chains.size());
  held_ = hold_values(network, chains);
  for (std::size_t v = 0; v < graph.values.size(); ++v) {
    element_bytes_.push_back(held_[v] ? element_size(network.precision()) : element_size(graph.values[v].type));
  }
  for (FusedNode& fused : chains) {
    std::unique_ptr<Step> step = make_step({network, shapes_, fused, held_});
    steps_.push_back({std::move(fused), std::move(step)});
  }
  place_values(network, keep_all);
}

std::size_t Plan::bytes_of(int value) const {
  return static_cast<std::size_t>(element_count(shapes_[value])) * element_bytes_[value];
}

std::size_t Plan::scratch_floats(int threads) const {
  std::size_t floats = 0;
  for (std::size_t s = first_; s < last_; ++s) floats = std::max(floats, steps_[s].step->scratch_floats(threads));
  return floats;
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
  // Kernels read values that are held in whole chunks: not into what lies behind, which another thread may be writing.
  const auto placed_bytes = [&](int value) {
    return align_up(bytes_of(value) + (held_[value] ? kIntegerSlack * element_bytes_[value] : 0));
  };
  ArenaLayout arena;
  std::vector<std::vector<int>> dying(steps_.size());  // by step: the roots whose memory is free after it
  const auto place = [&](int value) {
    places_[value] = {Place::kArena, arena.allocate(placed_bytes(value)), 0};
    if (last_use[value] < steps_.size()) dying[last_use[value]].push_back(value);
  };
  const auto place_given = [&](int value) {
    if (last_use[value] < first_) return;
    place(value);
    if (first_ > 0) given_.push_back(value);
  };
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    const int value = graph.inputs[i].value;
    if (held_[value]) {
      place_given(value);
    } else {
      places_[value] = {Place::kInput, 0, static_cast<int>(i)};
    }
  }
  for (std::size_t s = 0; s < first_; ++s) place_given(steps_[s].fused.output);
  for (std::size_t s = first_; s < last_; ++s) {
    const FusedNode& fused = steps_[s].fused;
    const int output = fused.output;
    // A value that nobody reads dies where it is born.
    if (last_use[output] != kForever) last_use[output] = std::max(last_use[output], s);
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
      if (last_use[output] != kForever) dying[last_use[output]].push_back(output);
    } else {
      place(output);
    }
    for (const int root : dying[s]) arena.release(places_[root].offset, placed_bytes(root));
  }
  arena_bytes_ = arena.size();
  for (std::size_t v = 0; v < places_.size(); ++v) places_[v] = places_[roots[v]];
}

}  // namespace opq
