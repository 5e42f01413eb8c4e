#include "runtime/images_apart.h"

#include <algorithm>

namespace opq {
namespace {

class Batch {
 public:
  Batch(const Graph& graph, const std::vector<Shape>& one, const std::vector<Shape>& all)
      : graph_(graph), one_(one), all_(all), is_batch_(graph.values.size()) {}

  bool is_apart() {
    if (graph_.inputs.empty() || all_[graph_.inputs[0].value].empty()) return false;
    images_ = all_[graph_.inputs[0].value][0];
    for (const Port& port : graph_.inputs) {
      if (!has_parts(port.value)) return false;
      is_batch_[port.value] = true;
    }
    for (const Node& node : graph_.nodes) {
      if (!has_parts(node.output) || !keeps_apart(node)) return false;
      is_batch_[node.output] = true;
    }
    return std::all_of(graph_.outputs.begin(), graph_.outputs.end(),
                       [this](const Port& port) { return is_batch_[port.value]; });
  }

 private:
  // [1, ...] for one image, [images, ...] for all.
  bool has_parts(int value) const {
    const Shape &one = one_[value], &all = all_[value];
    return !one.empty() && one.size() == all.size() && one[0] == 1 && all[0] == images_ &&
           std::equal(one.begin() + 1, one.end(), all.begin() + 1);
  }

  // The output has parts. Whether each of them follows from those of the same image.
  bool keeps_apart(const Node& node) const {
    const std::size_t rank = all_[node.inputs[0]].size();
    switch (node.op) {
      case Op::kAdd:
      case Op::kSub:
      case Op::kMul:
      case Op::kDiv:
        return is_apart_in_broadcast(node);
      case Op::kMatMul:
        return is_apart_in_product(node.inputs[0], node.inputs[1]);
      case Op::kConcat:
        return normalized_axis(node.integer("axis"), static_cast<int64_t>(rank)) != 0 &&
               std::all_of(node.inputs.begin(), node.inputs.end(), [this](int value) { return is_batch_[value]; });
      default:
        return is_batch_[node.inputs[0]] && keeps_first_axis(node, rank);
    }
  }

  static bool keeps_first_axis(const Node& node, std::size_t rank) {
    switch (node.op) {
      case Op::kLinear:
        return rank > 1;
      case Op::kSoftmax:
        return normalized_axis(node.integer("axis"), static_cast<int64_t>(rank)) != 0;
      case Op::kReduceMean: {
        const auto& axes = node.integers("axes");
        return std::none_of(axes.begin(), axes.end(),
                            [&](int64_t axis) { return normalized_axis(axis, static_cast<int64_t>(rank)) == 0; });
      }
      case Op::kPad:
        return node.integers("pads")[0] == 0 && node.integers("pads")[rank] == 0;
      case Op::kTranspose:
        return node.integers("perm")[0] == 0;
      default:  // channels, pixels and elements; and views, where the order of elements stays
        return true;
    }
  }

  // A constant that reached into the first axis would have given the output of one image more parts than one.
  bool is_apart_in_broadcast(const Node& node) const {
    const std::size_t rank = all_[node.output].size();
    const bool a = is_batch_[node.inputs[0]], b = is_batch_[node.inputs[1]];
    return (a || b) && (!a || all_[node.inputs[0]].size() == rank) && (!b || all_[node.inputs[1]].size() == rank);
  }

  // Images as rows of a, or as the first of the axes over which the product is repeated.
  bool is_apart_in_product(int a, int b) const {
    const std::size_t rank_a = all_[a].size(), rank_b = all_[b].size();
    if (is_batch_[a] && is_batch_[b]) return rank_a == rank_b && rank_a > 2;
    if (is_batch_[a]) return rank_a > 1 && rank_b <= rank_a;
    return is_batch_[b] && rank_b > 2 && rank_a <= rank_b;
  }

  const Graph& graph_;
  const std::vector<Shape>&one_, &all_;
  std::vector<bool> is_batch_;  // by value
  int64_t images_ = 0;
};

}  // namespace

bool are_images_apart(const Graph& graph, const std::vector<Shape>& one, const std::vector<Shape>& all) {
  return Batch(graph, one, all).is_apart();
}

}  // namespace opq
