#include "runtime/plan.h"

#include <algorithm>
#include <limits>

#include "runtime/arena.h"
#include "runtime/fusion.h"
#include "runtime/shapes.h"

namespace opq {
namespace {

constexpr std::size_t kForever = std::numeric_limits<std::size_t>::max();

// Steps that read each element of an input once, at the place where they write the result.
bool is_elementwise(Op op) { return op >= Op::kRelu && op <= Op::kDiv; }

// The values that a chain reads at run time.
std::vector<int> operands(const Graph& graph, const FusedNode& fused) {
  const Node& node = graph.nodes[fused.node];
  std::vector<int> values;
  const bool has_weights = node.op == Op::kConv || node.op == Op::kLinear;
  for (std::size_t i = 0; i < (has_weights ? 1 : node.inputs.size()); ++i) values.push_back(node.inputs[i]);
  if (fused.residual != kAbsent) values.push_back(fused.residual);
  return values;
}

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
  for (FusedNode& fused : fuse_nodes(network, shapes_, !keep_all)) {
    std::unique_ptr<Step> step = make_step({network, shapes_, fused});
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
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    places_[graph.inputs[i].value] = {Place::kInput, 0, static_cast<int>(i)};
  }

  ArenaLayout arena;
  const auto bytes_of = [&](int value) {
    return align_up(static_cast<std::size_t>(element_count(shapes_[value])) * element_size(graph.values[value].type));
  };
  std::vector<std::vector<int>> dying(steps_.size());  // by step: the roots whose memory is free after it
  for (std::size_t s = 0; s < steps_.size(); ++s) {
    const FusedNode& fused = steps_[s].fused;
    const int output = fused.output;
    int reused = kAbsent;
    if (is_elementwise(graph.nodes[fused.node].op)) {
      for (const int value : operands(graph, fused)) {
        const int root = roots[value];
        const bool dies = places_[root].kind == Place::kArena && last_use[root] == s;
        if (dies && element_count(shapes_[value]) == element_count(shapes_[output])) reused = root;
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
  arena_bytes_ = arena.size();
  for (std::size_t v = 0; v < places_.size(); ++v) places_[v] = places_[roots[v]];
}

}  // namespace opq
