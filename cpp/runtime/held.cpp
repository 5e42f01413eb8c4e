#include "runtime/held.h"

namespace opq {
namespace {

// Operators whose results are among the values of their input, or between two of them.
bool keeps_grid(Op op) { return op == Op::kMaxPool || op == Op::kRelu || op == Op::kClip; }

}  // namespace

std::vector<std::optional<Grid>> hold_values(const Network& network, const std::vector<FusedNode>& steps) {
  const Graph& graph = network.graph();
  std::vector<std::optional<Grid>> held(graph.values.size());
  if (network.precision() == Precision::kFloat32) return held;
  std::vector<std::optional<Grid>> own(graph.values.size());
  for (const Range& range : network.ranges()) {
    if (graph.values[range.value].type != ElementType::kFloat32) continue;
    own[range.value] = grid_of(range.lo, range.hi, network.precision());
  }
  for (const Port& port : graph.inputs) held[port.value] = own[port.value];
  std::vector<std::size_t> chain(graph.values.size());  // by value: nodes of the step that writes it, 0: none does
  for (const FusedNode& step : steps) chain[step.output] = step.nodes.size();
  for (const Node& node : graph.nodes) {
    const std::optional<Grid>& first = held[node.inputs[0]];
    if (is_view(node.op) || node.op == Op::kTranspose) {
      held[node.output] = first;
    } else if (chain[node.output] == 1 && keeps_grid(node.op) && first && !own[node.output]) {
      held[node.output] = first;
    } else if (chain[node.output] > 0) {
      held[node.output] = own[node.output];
    }
  }
  return held;
}

}  // namespace opq
