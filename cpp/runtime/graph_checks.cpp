// What can be checked about a node before the sizes of its inputs are known: attributes, element types, ranks, weights.
#include <algorithm>
#include <set>

#include "runtime/graph.h"

namespace opq {
namespace {

// Keeps every later sum and product of such numbers inside of 64 bits.
constexpr int64_t kLargest = (int64_t{1} << 31) - 1;

class Checker {
 public:
  Checker(const Node& node, const std::vector<Tensor>& tensors, const std::vector<Value>& values)
      : node_(node), tensors_(tensors), values_(values), type_(value(0).type), rank_(value(0).rank) {}

  // The type and rank of the output.
  std::pair<ElementType, int> check() {
    const bool has_weights = node_.op == Op::kConv || node_.op == Op::kLinear;
    for (std::size_t i = 0; i < node_.inputs.size(); ++i) {
      const int tensor = value(i).tensor;
      if (tensor >= 0 && tensors_[tensor].codec != Codec::kRaw && !(has_weights && i == 1)) {
        fail("its input " + value(i).name + " is a tensor of codes");
      }
    }
    switch (node_.op) {
      case Op::kConv:
        return check_conv();
      case Op::kLinear:
        return check_linear();
      case Op::kMatMul:
        return check_matmul();
      case Op::kRelu:
      case Op::kSigmoid:
      case Op::kTanh:
      case Op::kHardSwish:
      case Op::kLeakyRelu:
      case Op::kHardSigmoid:
      case Op::kClip:
        need_float(0);
        return {type_, rank_};
      case Op::kAdd:
      case Op::kSub:
      case Op::kMul:
      case Op::kDiv:
        return check_binary();
      case Op::kMaxPool:
      case Op::kAveragePool:
        return check_pool();
      case Op::kReduceMean:
        return check_reduce();
      case Op::kSoftmax:
        need_float(0);
        check_axis("axis");
        return {type_, rank_};
      case Op::kLRN:
        need_float(0);
        if (known() && rank_ < 2) fail("x needs at least 2 dimensions");
        check_range("size", node_.integer("size"), 1);
        return {type_, rank_};
      case Op::kPad:
        return check_pad();
      case Op::kConcat:
        return check_concat();
      case Op::kFlatten: {
        const int64_t axis = node_.integer("axis");
        if (known() && (axis < -rank_ || axis > rank_)) fail("axis " + std::to_string(axis) + " is out of range");
        return {type_, 2};
      }
      case Op::kReshape:
        return check_reshape();
      case Op::kSqueeze:
        return check_squeeze();
      case Op::kUnsqueeze:
        return check_unsqueeze();
      case Op::kTranspose:
        return check_transpose();
    }
    fail("unknown operator");
  }

 private:
  using Result = std::pair<ElementType, int>;

  [[noreturn]] void fail(const std::string& message) const { node_.fail(ErrorCode::kFormat, message); }
  const Value& value(std::size_t i) const { return values_[node_.input(i)]; }
  bool known() const { return rank_ != kUnknownRank; }

  void need_float(std::size_t i) const {
    if (value(i).type != ElementType::kFloat32) {
      fail("its input " + value(i).name + " is " + element_name(value(i).type) + ", not float32");
    }
  }

  void check_range(const char* key, int64_t number, int64_t lowest) const {
    if (number < lowest || number > kLargest) fail(std::string(key) + " is " + std::to_string(number));
  }
  void check_flag(const char* key) const {
    if (node_.integer(key) != 0 && node_.integer(key) != 1) fail(std::string(key) + " is neither 0 nor 1");
  }
  void check_list(const char* key, std::size_t length, int64_t lowest) const {
    const auto& numbers = node_.integers(key);
    if (numbers.size() != length) fail(std::string(key) + " has " + std::to_string(numbers.size()) + " entries");
    for (const int64_t number : numbers) check_range(key, number, lowest);
  }
  void check_axis(const char* key) const {
    if (known() && normalized_axis(node_.integer(key), rank_) < 0) {
      fail(std::string(key) + " " + std::to_string(node_.integer(key)) + " is out of range");
    }
  }
  void check_axes(int64_t rank) const {
    std::set<int64_t> seen;
    for (const int64_t axis : node_.integers("axes")) {
      const int64_t normalized = normalized_axis(axis, rank);
      if (normalized < 0) fail("axis " + std::to_string(axis) + " is out of range");
      if (!seen.insert(normalized).second) fail("axis " + std::to_string(axis) + " occurs twice");
    }
  }
  void check_windows(std::size_t spatial) const {
    check_list("strides", spatial, 1);
    check_list("dilations", spatial, 1);
    check_list("pads", 2 * spatial, 0);
    const std::string& mode = node_.text("auto_pad");
    if (mode != "NOTSET" && mode != "SAME_UPPER" && mode != "SAME_LOWER") fail("unknown auto_pad " + mode);
  }

  // The weight and, if they are there, scale [M] and bias [M].
  const Tensor& check_weights() const {
    need_float(0);
    for (std::size_t i = 1; i < node_.inputs.size(); ++i) {
      if (node_.inputs[i] == kAbsent) continue;
      if (value(i).tensor < 0) fail("its input " + value(i).name + " is not a tensor of the directory");
      need_float(i);
    }
    const Tensor& weight = tensors_[value(1).tensor];
    if (weight.has_channel_axis && weight.channel_axis != 0) fail("the channel axis of its weight is not 0");
    if (weight.shape.empty()) fail("its weight has no dimensions");
    for (std::size_t i = 2; i < node_.inputs.size(); ++i) {
      if (node_.inputs[i] == kAbsent) continue;
      if (tensors_[value(i).tensor].shape != Shape{weight.shape[0]}) {
        fail("its input " + value(i).name + " does not have one number per output channel");
      }
    }
    return weight;
  }

  Result check_conv() const {
    const Tensor& weight = check_weights();
    const std::size_t rank = weight.shape.size();
    if (rank != 3 && rank != 4) fail("its weight has " + std::to_string(rank) + " dimensions, not 3 or 4");
    if (known() && rank_ != static_cast<int>(rank)) {
      fail("x has " + std::to_string(rank_) + " dimensions, its weight " + std::to_string(rank));
    }
    check_windows(rank - 2);
    check_range("group", node_.integer("group"), 1);
    if (weight.elements == 0) fail("its weight is empty");
    if (weight.shape[0] % node_.integer("group") != 0) fail("group does not divide the output channels");
    for (const int64_t size : weight.shape) check_range("a dimension of its weight", size, 1);
    return {type_, static_cast<int>(rank)};
  }

  Result check_linear() const {
    const Tensor& weight = check_weights();
    if (weight.shape.size() != 2) fail("its weight does not have 2 dimensions");
    if (rank_ == 0) fail("x has no dimensions");
    for (const int64_t size : weight.shape) check_range("a dimension of its weight", size, 1);
    return {type_, rank_};
  }

  Result check_matmul() const {
    need_float(0);
    need_float(1);
    const int other = value(1).rank;
    if (rank_ == 0 || other == 0) fail("an operand has no dimensions");
    if (!known() || other == kUnknownRank) return {type_, kUnknownRank};
    return {type_, std::max({rank_, other, 2}) - (rank_ == 1) - (other == 1)};
  }

  Result check_binary() const {
    if (type_ != value(1).type) {
      fail(std::string("its operands are ") + element_name(type_) + " and " + element_name(value(1).type));
    }
    const int other = value(1).rank;
    return {type_, known() && other != kUnknownRank ? std::max(rank_, other) : kUnknownRank};
  }

  Result check_pool() const {
    need_float(0);
    const std::size_t spatial = node_.integers("kernel_shape").size();
    if (spatial != 1 && spatial != 2) fail("kernel_shape has " + std::to_string(spatial) + " entries, not 1 or 2");
    if (known() && rank_ != static_cast<int>(spatial) + 2) fail("x has " + std::to_string(rank_) + " dimensions");
    check_list("kernel_shape", spatial, 1);
    check_windows(spatial);
    check_flag("ceil_mode");
    if (node_.op == Op::kAveragePool) check_flag("count_include_pad");
    return {type_, static_cast<int>(spatial) + 2};
  }

  Result check_reduce() const {
    need_float(0);
    check_flag("keepdims");
    if (!known()) return {type_, kUnknownRank};
    check_axes(rank_);
    const int axes = static_cast<int>(node_.integers("axes").size());
    return {type_, node_.integer("keepdims") == 1 ? rank_ : rank_ - axes};
  }

  Result check_pad() const {
    const std::string& mode = node_.text("mode");
    const bool constant = mode == "constant";
    if (!constant && mode != "edge" && mode != "reflect" && mode != "wrap") fail("unknown mode " + mode);
    const std::size_t length = node_.integers("pads").size();
    if (length % 2 != 0 || length > 2 * kMaxRank) fail("pads has " + std::to_string(length) + " entries");
    check_list("pads", known() ? 2 * static_cast<std::size_t>(rank_) : length, constant ? -kLargest : 0);
    return {type_, rank_};
  }

  Result check_concat() const {
    int rank = rank_;
    for (std::size_t i = 1; i < node_.inputs.size(); ++i) {
      if (value(i).type != type_) fail("its inputs have different element types");
      if (value(i).rank == kUnknownRank) continue;
      if (rank != kUnknownRank && rank != value(i).rank) fail("its inputs have different numbers of dimensions");
      rank = value(i).rank;
    }
    if (rank == 0) fail("its inputs have no dimensions");
    if (rank != kUnknownRank && normalized_axis(node_.integer("axis"), rank) < 0) fail("axis is out of range");
    return {type_, rank};
  }

  Result check_reshape() const {
    check_flag("allowzero");
    const auto& shape = node_.integers("shape");
    if (shape.size() > kMaxRank) fail("shape has more than 8 dimensions");
    const bool zero_is_zero = node_.integer("allowzero") == 1;
    bool inferred = false, zero = false;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      if (shape[axis] < -1) fail("shape has a negative dimension");
      if (shape[axis] == -1 && inferred) fail("shape has two -1");
      inferred |= shape[axis] == -1;
      zero |= shape[axis] == 0;
      if (shape[axis] == 0 && !zero_is_zero && known() && static_cast<int>(axis) >= rank_) {
        fail("shape copies a dimension that x does not have");
      }
    }
    if (zero && inferred && zero_is_zero) fail("shape has 0 and -1");
    return {type_, static_cast<int>(shape.size())};
  }

  Result check_squeeze() const {
    const auto& axes = node_.integers("axes");
    if (!known() || axes.empty()) return {type_, kUnknownRank};
    check_axes(rank_);
    return {type_, rank_ - static_cast<int>(axes.size())};
  }

  Result check_unsqueeze() const {
    const int axes = static_cast<int>(std::min<std::size_t>(node_.integers("axes").size(), kMaxRank + 1));
    if (!known()) return {type_, kUnknownRank};
    if (rank_ + axes > kMaxRank) fail("its output has more than 8 dimensions");
    check_axes(rank_ + axes);
    return {type_, rank_ + axes};
  }

  Result check_transpose() const {
    const auto& perm = node_.integers("perm");
    if (perm.size() > kMaxRank || (known() && perm.size() != static_cast<std::size_t>(rank_))) {
      fail("perm has " + std::to_string(perm.size()) + " entries");
    }
    std::vector<bool> seen(perm.size());
    for (const int64_t axis : perm) {
      if (axis < 0 || axis >= static_cast<int64_t>(perm.size()) || seen[axis]) fail("perm is not a permutation");
      seen[axis] = true;
    }
    return {type_, static_cast<int>(perm.size())};
  }

  const Node& node_;
  const std::vector<Tensor>& tensors_;
  const std::vector<Value>& values_;
  const ElementType type_;  // of the first input
  const int rank_;
};

}  // namespace

void check_node(const Node& node, const std::vector<Tensor>& tensors, std::vector<Value>& values) {
  const auto [type, rank] = Checker(node, tensors, values).check();
  values[node.output].type = type;
  values[node.output].rank = rank;
}

}  // namespace opq
