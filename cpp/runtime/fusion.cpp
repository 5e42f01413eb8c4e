#include "runtime/fusion.h"

#include <limits>
#include <optional>

namespace opq {
namespace {

std::optional<Activation> fusible_activation(const Node& node) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  switch (node.op) {
    case Op::kRelu:
      return Activation{Activation::kClip, 0, kInfinity, 0};
    case Op::kClip:
      return Activation{Activation::kClip, node.number("min"), node.number("max"), 0};
    case Op::kLeakyRelu:
      return Activation{Activation::kLeaky, 0, 0, node.number("alpha")};
    default:
      return std::nullopt;
  }
}

class Fusion {
 public:
  Fusion(const Network& network, const std::vector<Shape>& shapes)
      : graph_(network.graph()),
        shapes_(shapes),
        readers_(graph_.values.size()),
        made_by_(graph_.values.size(), kNone),
        slots_(graph_.nodes.size()) {
    for (const Node& node : graph_.nodes) {
      for (const int value : node.inputs) ++readers_[value];
    }
    // An output has a reader outside of the graph: it is never fused away.
    for (const Port& port : graph_.outputs) readers_[port.value] += 2;
  }

  // A chain moves to the place of its last node, where all its inputs are there.
  void add(std::size_t i, bool fuse) {
    const Node& node = graph_.nodes[i];
    FusedNode fused{i, {i}, node.output, kAbsent, {}};
    if (fuse && node.op == Op::kAdd) {
      absorb_residual(node, fused);
    } else if (const auto activation = fusible_activation(node); fuse && activation) {
      absorb_activation(node, *activation, fused);
    }
    made_by_[fused.output] = i;
    slots_[i] = std::move(fused);
  }

  std::vector<FusedNode> finish() {
    std::vector<FusedNode> steps;
    for (auto& slot : slots_) {
      if (slot) steps.push_back(std::move(*slot));
    }
    return steps;
  }

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  bool has_weights(std::size_t node) const {
    return graph_.nodes[node].op == Op::kConv || graph_.nodes[node].op == Op::kLinear;
  }

  // The chain that makes `value`, if nothing else reads the value and nothing has been applied behind its sum.
  FusedNode* open_chain(int value) {
    if (made_by_[value] == kNone || readers_[value] != 1) return nullptr;
    FusedNode& chain = *slots_[made_by_[value]];
    return chain.activation.kind == Activation::kNone ? &chain : nullptr;
  }

  void absorb(FusedNode& chain, FusedNode& fused) {
    const std::size_t absorbed = made_by_[chain.output];
    chain.nodes.push_back(fused.node);
    chain.output = fused.output;
    fused = std::move(chain);
    slots_[absorbed].reset();
  }

  void absorb_residual(const Node& add, FusedNode& fused) {
    const int a = add.inputs[0], b = add.inputs[1];
    if (shapes_[a] != shapes_[b]) return;
    // Of two candidates the later one, which moves less.
    const bool a_is_later = made_by_[a] != kNone && (made_by_[b] == kNone || made_by_[a] > made_by_[b]);
    const int later = a_is_later ? a : b;
    for (const int value : {later, later == a ? b : a}) {
      FusedNode* chain = open_chain(value);
      if (chain == nullptr || !has_weights(chain->node) || chain->residual != kAbsent) continue;
      absorb(*chain, fused);
      fused.residual = value == a ? b : a;
      return;
    }
  }

  void absorb_activation(const Node& node, const Activation& activation, FusedNode& fused) {
    FusedNode* chain = open_chain(node.inputs[0]);
    if (chain == nullptr) return;
    const Node& first = graph_.nodes[chain->node];
    const bool plain_add = first.op == Op::kAdd && shapes_[first.inputs[0]] == shapes_[first.inputs[1]];
    if (!plain_add && !has_weights(chain->node)) return;
    absorb(*chain, fused);
    fused.activation = activation;
  }

  const Graph& graph_;
  const std::vector<Shape>& shapes_;
  std::vector<int> readers_;          // by value
  std::vector<std::size_t> made_by_;  // by value: the slot of its chain
  std::vector<std::optional<FusedNode>> slots_;
};

}  // namespace

std::vector<FusedNode> fuse_nodes(const Network& network, const std::vector<Shape>& shapes, bool fuse) {
  Fusion fusion(network, shapes);
  for (std::size_t i = 0; i < network.graph().nodes.size(); ++i) {
    if (!is_view(network.graph().nodes[i].op)) fusion.add(i, fuse);
  }
  return fusion.finish();
}

}  // namespace opq
