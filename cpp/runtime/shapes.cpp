#include "runtime/shapes.h"

#include <algorithm>

#include "runtime/window.h"

namespace opq {
namespace {

constexpr int64_t kMaxElements = (int64_t{1} << 31) - 1;

class Inference {
 public:
  Inference(const Node& node, const std::vector<Shape>& shapes) : node_(node), shapes_(shapes) {}

  Shape infer() const {
    const Shape& x = shape(0);
    switch (node_.op) {
      case Op::kConv:
        return infer_conv();
      case Op::kLinear:
        return infer_linear();
      case Op::kMatMul:
        return infer_matmul();
      case Op::kAdd:
      case Op::kSub:
      case Op::kMul:
      case Op::kDiv: {
        Shape result;
        if (!broadcast_shapes(x, shape(1), result)) {
          fail(to_string(x) + " and " + to_string(shape(1)) + " do not broadcast");
        }
        return result;
      }
      case Op::kMaxPool:
      case Op::kAveragePool:
        return spatial_shape(x[1], make_windows(node_, x, node_.integers("kernel_shape")));
      case Op::kReduceMean:
        return infer_reduce();
      case Op::kPad:
        return infer_pad();
      case Op::kConcat:
        return infer_concat();
      case Op::kFlatten:
        return infer_flatten();
      case Op::kReshape:
        return infer_reshape();
      case Op::kSqueeze:
        return infer_squeeze();
      case Op::kUnsqueeze:
        return infer_unsqueeze();
      case Op::kTranspose: {
        Shape result;
        for (const int64_t axis : node_.integers("perm")) result.push_back(x[axis]);
        return result;
      }
      default:
        return x;
    }
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { node_.fail(ErrorCode::kInput, message); }
  const Shape& shape(std::size_t i) const { return shapes_[node_.input(i)]; }

  Shape spatial_shape(int64_t channels, const Windows& windows) const {
    if (shape(0).size() == 3) return {shape(0)[0], channels, windows.w.out};
    return {shape(0)[0], channels, windows.h.out, windows.w.out};
  }

  Shape infer_conv() const {
    const Shape &x = shape(0), &weight = shape(1);
    const int64_t channels = weight[1] * node_.integer("group");
    if (x[1] != channels) fail("x has " + std::to_string(x[1]) + " channels, not " + std::to_string(channels));
    return spatial_shape(weight[0], make_windows(node_, x, std::span(weight).subspan(2)));
  }

  Shape infer_linear() const {
    Shape result = shape(0);
    const Shape& weight = shape(1);
    if (result.back() != weight[1]) {
      fail("x has shape " + to_string(result) + ", its last dimension is not " + std::to_string(weight[1]));
    }
    result.back() = weight[0];
    return result;
  }

  Shape infer_matmul() const {
    Shape a = shape(0), b = shape(1), result;
    const bool vector_a = a.size() == 1, vector_b = b.size() == 1;
    const std::string operands = to_string(a) + " and " + to_string(b);
    if (vector_a) a.insert(a.begin(), 1);
    if (vector_b) b.push_back(1);
    const int64_t rows = a[a.size() - 2], columns = b.back();
    const bool fits = a.back() == b[b.size() - 2];
    a.resize(a.size() - 2);
    b.resize(b.size() - 2);
    if (!fits || !broadcast_shapes(a, b, result)) fail(operands + " do not fit");
    if (!vector_a) result.push_back(rows);
    if (!vector_b) result.push_back(columns);
    return result;
  }

  Shape infer_reduce() const {
    const Shape& x = shape(0);
    std::vector<bool> reduced(x.size());
    for (const int64_t axis : node_.integers("axes")) reduced[normalized_axis(axis, std::ssize(x))] = true;
    Shape result;
    for (std::size_t axis = 0; axis < x.size(); ++axis) {
      if (!reduced[axis]) {
        result.push_back(x[axis]);
      } else if (node_.integer("keepdims") == 1) {
        result.push_back(1);
      }
    }
    return result;
  }

  Shape infer_pad() const {
    const Shape& x = shape(0);
    const auto& pads = node_.integers("pads");
    const std::string& mode = node_.text("mode");
    Shape result = x;
    for (std::size_t axis = 0; axis < x.size(); ++axis) {
      const int64_t begin = pads[axis], end = pads[axis + x.size()];
      // A negative pad removes elements; those of one side are gone before those of the other side are counted.
      if (x[axis] + std::min<int64_t>(begin, 0) + std::min<int64_t>(end, 0) < 0) {
        fail("it removes more of axis " + std::to_string(axis) + " than x of shape " + to_string(x) + " has");
      }
      if (mode != "constant" && x[axis] == 0 && begin + end > 0) {
        fail("x has nothing to copy along axis " + std::to_string(axis));
      }
      result[axis] += begin + end;
    }
    return result;
  }

  Shape infer_concat() const {
    Shape result = shape(0);
    const int64_t axis = normalized_axis(node_.integer("axis"), std::ssize(result));
    for (std::size_t i = 1; i < node_.inputs.size(); ++i) {
      Shape other = shape(i);
      const int64_t size = other[axis];
      other[axis] = result[axis];
      if (other != result) {
        fail("input " + std::to_string(i) + " has shape " + to_string(shape(i)) + ", input 0 " + to_string(shape(0)));
      }
      result[axis] += size;
    }
    return result;
  }

  Shape infer_flatten() const {
    const Shape& x = shape(0);
    int64_t axis = node_.integer("axis");
    if (axis < 0) axis += std::ssize(x);
    return {element_count(Shape(x.begin(), x.begin() + axis)), element_count(Shape(x.begin() + axis, x.end()))};
  }

  Shape infer_reshape() const {
    const Shape& x = shape(0);
    Shape result = node_.integers("shape");
    std::size_t inferred = result.size();
    for (std::size_t axis = 0; axis < result.size(); ++axis) {
      if (result[axis] == 0 && node_.integer("allowzero") == 0) result[axis] = x[axis];
      if (result[axis] == -1) inferred = axis;
    }
    const int64_t elements = element_count(x);
    if (inferred < result.size()) {
      result[inferred] = 1;
      const int64_t others = element_count(result);
      result[inferred] = others > 0 && elements % others == 0 ? elements / others : 0;
      if (others == 0) fail("the size -1 of its shape does not follow from an x without elements");
    }
    if (element_count(result) != elements) {
      fail("x of shape " + to_string(x) + " cannot have shape " + to_string(node_.integers("shape")));
    }
    return result;
  }

  Shape infer_squeeze() const {
    const Shape& x = shape(0);
    const auto& axes = node_.integers("axes");
    std::vector<bool> removed(x.size());
    for (std::size_t axis = 0; axis < x.size(); ++axis) removed[axis] = axes.empty() && x[axis] == 1;
    for (const int64_t stored : axes) {
      const int64_t axis = normalized_axis(stored, std::ssize(x));
      if (x[axis] != 1) fail("axis " + std::to_string(axis) + " of x has size " + std::to_string(x[axis]) + ", not 1");
      removed[axis] = true;
    }
    Shape result;
    for (std::size_t axis = 0; axis < x.size(); ++axis) {
      if (!removed[axis]) result.push_back(x[axis]);
    }
    return result;
  }

  Shape infer_unsqueeze() const {
    Shape result = shape(0);
    const auto& axes = node_.integers("axes");
    std::vector<int64_t> sorted;
    const int64_t rank = std::ssize(result) + std::ssize(axes);
    for (const int64_t axis : axes) sorted.push_back(normalized_axis(axis, rank));
    std::sort(sorted.begin(), sorted.end());
    for (const int64_t axis : sorted) result.insert(result.begin() + axis, 1);
    return result;
  }

  const Node& node_;
  const std::vector<Shape>& shapes_;
};

// Checks a node whose inputs' ranks were not known before the shapes were: the shapes are at fault, not the file.
void check_late(const Node& node, const std::vector<Tensor>& tensors, std::vector<Value>& values) {
  try {
    check_node(node, tensors, values);
  } catch (const Error& error) {
    throw Error(ErrorCode::kInput, error.what());
  }
}

}  // namespace

int64_t element_count(const Shape& shape) {
  int64_t elements = 1, bound = 1;
  for (const int64_t size : shape) {
    // Bounded without the zeros, so that no order of multiplication can overflow.
    if (size > kMaxElements || (size > 0 && bound > kMaxElements / size)) {
      throw Error(ErrorCode::kInput, "a tensor of shape " + to_string(shape) + " has more than 2^31 - 1 elements");
    }
    bound *= size > 0 ? size : 1;
    elements *= size;
  }
  return elements;
}

bool broadcast_shapes(const Shape& a, const Shape& b, Shape& result) {
  const std::size_t rank = std::max(a.size(), b.size());
  result.assign(rank, 1);
  for (std::size_t i = 1; i <= rank; ++i) {  // from the last axis
    const int64_t size_a = i <= a.size() ? a[a.size() - i] : 1, size_b = i <= b.size() ? b[b.size() - i] : 1;
    if (size_a != size_b && size_a != 1 && size_b != 1) return false;
    result[rank - i] = size_a == 1 ? size_b : size_a;
  }
  return true;
}

std::vector<Shape> infer_shapes(const Graph& graph, const std::vector<Tensor>& tensors, std::span<const Shape> inputs) {
  std::vector<Shape> shapes(graph.values.size());
  std::vector<Value> values = graph.values;  // with the ranks that are unknown without shapes
  for (std::size_t v = 0; v < values.size(); ++v) {
    if (values[v].tensor >= 0) shapes[v] = tensors[values[v].tensor].shape;
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    element_count(inputs[i]);
    shapes[graph.inputs[i].value] = inputs[i];
  }
  for (const Node& node : graph.nodes) {
    const bool late = std::any_of(node.inputs.begin(), node.inputs.end(),
                                  [&](int v) { return v != kAbsent && graph.values[v].rank == kUnknownRank; });
    if (late) check_late(node, tensors, values);
    Shape& output = shapes[node.output];
    output = Inference(node, shapes).infer();
    values[node.output].rank = static_cast<int>(output.size());
    try {
      element_count(output);
    } catch (const Error& error) {
      node.fail(ErrorCode::kInput, error.what());
    }
  }
  return shapes;
}

}  // namespace opq
