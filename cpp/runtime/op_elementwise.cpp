// Functions of one element, and sums, differences, products and quotients of two with NumPy's broadcasting.
#include <limits>
#include <type_traits>

#include "runtime/parallel.h"
#include "runtime/shapes.h"
#include "runtime/step.h"

namespace opq {
namespace {

// Float32, all of one shape: function(operands, y, n, kernels) on any piece of them.
template <typename Function>
class SameShapeStep final : public ElementwiseStep {
 public:
  SameShapeStep(const StepSource& source, Function function)
      : x_(source.node().inputs),
        y_(source.fused.output),
        count_(element_count(source.output_shape())),
        function_(function) {}

  void run(const Execution& execution) const override {
    parallel_ranges(execution.pool, count_, kGrain, [&](int64_t begin, int64_t end, int) {
      const float* operands[2];
      for (std::size_t i = 0; i < x_.size(); ++i) operands[i] = execution.input<float>(x_[i]) + begin;
      run_on(operands, execution.output<float>(y_) + begin, static_cast<std::size_t>(end - begin), execution.kernels);
    });
  }

  void run_on(const float* const* operands, float* y, std::size_t n, const Kernels& kernels) const override {
    function_(operands, y, n, kernels);
  }

 private:
  const std::vector<int> x_;  // one or two
  const int y_;
  const int64_t count_;
  const Function function_;
};

template <typename Function>
std::unique_ptr<ElementwiseStep> same_shape_step(const StepSource& source, Function function) {
  return std::make_unique<SameShapeStep<Function>>(source, function);
}

// The loops of a broadcast, outermost first. The innermost axis is `inner` long; along it each operand moves by 0 or 1.
// The other axes are counted down by `offsets`: neighbouring axes along which both operands run on are merged.
struct Broadcast {
  struct Axis {
    int64_t size, step_a, step_b;
  };
  std::vector<Axis> outer;
  int64_t rows = 1, inner = 1;
  int step_a = 0, step_b = 0;

  Broadcast(const Shape& a, const Shape& b, const Shape& y) {
    std::vector<Axis> axes;  // innermost first
    int64_t stride_a = 1, stride_b = 1;
    for (std::size_t i = 1; i <= y.size(); ++i) {
      const int64_t size = y[y.size() - i];
      const int64_t size_a = i <= a.size() ? a[a.size() - i] : 1, size_b = i <= b.size() ? b[b.size() - i] : 1;
      if (size == 1) continue;
      const Axis axis{size, size_a == 1 ? 0 : stride_a, size_b == 1 ? 0 : stride_b};
      stride_a *= size_a;
      stride_b *= size_b;
      if (!axes.empty() && axis.step_a == axes.back().size * axes.back().step_a &&
          axis.step_b == axes.back().size * axes.back().step_b) {
        axes.back().size *= size;
      } else {
        axes.push_back(axis);
      }
    }
    if (axes.empty()) axes.push_back({1, 1, 1});
    inner = axes.front().size;
    step_a = static_cast<int>(axes.front().step_a);
    step_b = static_cast<int>(axes.front().step_b);
    outer.assign(axes.rbegin(), axes.rend() - 1);
    for (const Axis& axis : outer) rows *= axis.size;
  }

  // Where row `row` starts in a and in b.
  std::pair<int64_t, int64_t> offsets(int64_t row) const {
    int64_t offset_a = 0, offset_b = 0;
    for (auto axis = outer.rbegin(); axis != outer.rend(); ++axis) {
      offset_a += row % axis->size * axis->step_a;
      offset_b += row % axis->size * axis->step_b;
      row /= axis->size;
    }
    return {offset_a, offset_b};
  }
};

// One element of an integer operation: overflow wraps, division rounds toward zero, and a number divided by 0 is 0.
template <typename T>
T apply(Binary function, T a, T b) {
  using U = std::make_unsigned_t<T>;
  const U ua = static_cast<U>(a), ub = static_cast<U>(b);
  switch (function) {
    case Binary::kAdd:
      return static_cast<T>(ua + ub);
    case Binary::kSub:
      return static_cast<T>(ua - ub);
    case Binary::kMul:
      return static_cast<T>(ua * ub);
    case Binary::kDiv:
      if (b == 0) return 0;
      return b == -1 ? static_cast<T>(U{0} - ua) : static_cast<T>(a / b);
  }
  return 0;
}

class BinaryStep final : public Step {
 public:
  BinaryStep(const StepSource& source, Binary function)
      : node_(source.node()),
        y_(source.fused.output),
        function_(function),
        type_(source.type()),
        loops_(source.input_shape(0), source.input_shape(1), source.output_shape()),
        empty_(element_count(source.output_shape()) == 0) {}

  void run(const Execution& execution) const override {
    if (empty_) return;
    if (type_ == ElementType::kFloat32) {
      for_rows<float>(execution, [&](const float* a, const float* b, float* y, int64_t count) {
        execution.kernels.binary(function_, a, loops_.step_a, b, loops_.step_b, y, count);
      });
    } else if (type_ == ElementType::kInt32) {
      run_integers<int32_t>(execution);
    } else {
      run_integers<int64_t>(execution);
    }
  }

 private:
  // row(a, b, y, count) for pieces of the innermost loop.
  template <typename T, typename Row>
  void for_rows(const Execution& execution, const Row& row) const {
    const T *a = execution.input<T>(node_.inputs[0]), *b = execution.input<T>(node_.inputs[1]);
    T* y = execution.output<T>(y_);
    const int64_t piece = std::min(loops_.inner, kGrain);
    const int64_t pieces = (loops_.inner + piece - 1) / piece;
    parallel_ranges(execution.pool, loops_.rows * pieces, grain_of(piece), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const auto [offset_a, offset_b] = loops_.offsets(i / pieces);
        const int64_t start = i % pieces * piece;
        row(a + offset_a + start * loops_.step_a, b + offset_b + start * loops_.step_b,
            y + i / pieces * loops_.inner + start, std::min(piece, loops_.inner - start));
      }
    });
  }

  template <typename T>
  void run_integers(const Execution& execution) const {
    for_rows<T>(execution, [&](const T* a, const T* b, T* y, int64_t count) {
      for (int64_t i = 0; i < count; ++i) y[i] = apply(function_, a[i * loops_.step_a], b[i * loops_.step_b]);
    });
  }

  const Node& node_;
  const int y_;
  const Binary function_;
  const ElementType type_;
  const Broadcast loops_;
  const bool empty_;
};

}  // namespace

namespace {

std::unique_ptr<ElementwiseStep> unary_step(const StepSource& source) {
  const Node& node = source.node();
  const auto step = [&](Unary function, float a = 0, float b = 0) {
    return same_shape_step(source, [=](const float* const* x, float* y, std::size_t n, const Kernels& kernels) {
      kernels.unary(function, x[0], y, n, a, b);
    });
  };
  switch (node.op) {
    case Op::kRelu:
      return step(Unary::kRelu);
    case Op::kSigmoid:
      return step(Unary::kSigmoid);
    case Op::kTanh:
      return step(Unary::kTanh);
    case Op::kHardSwish:
      return step(Unary::kHardSwish);
    case Op::kLeakyRelu:
      return step(Unary::kLeakyRelu, node.number("alpha"));
    case Op::kHardSigmoid:
      return step(Unary::kHardSigmoid, node.number("alpha"), node.number("beta"));
    default:
      return step(Unary::kClip, node.number("min"), node.number("max"));
  }
}

Binary binary_function(Op op) {
  switch (op) {
    case Op::kAdd:
      return Binary::kAdd;
    case Op::kSub:
      return Binary::kSub;
    case Op::kMul:
      return Binary::kMul;
    default:
      return Binary::kDiv;
  }
}

}  // namespace

std::unique_ptr<ElementwiseStep> make_elementwise_step(const StepSource& source) {
  const Op op = source.node().op;
  if (op >= Op::kRelu && op < Op::kAdd) return unary_step(source);
  const bool is_binary = op >= Op::kAdd && op <= Op::kDiv;
  if (!is_binary || source.type() != ElementType::kFloat32 || source.input_shape(0) != source.input_shape(1)) {
    return nullptr;
  }
  const Activation activation = source.fused.activation;  // behind an Add
  if (activation.kind != Activation::kNone) {
    return same_shape_step(source, [=](const float* const* x, float* y, std::size_t n, const Kernels& kernels) {
      kernels.add_activate(x[0], x[1], activation, y, n);
    });
  }
  const Binary function = binary_function(op);
  return same_shape_step(source, [=](const float* const* x, float* y, std::size_t n, const Kernels& kernels) {
    kernels.binary(function, x[0], 1, x[1], 1, y, n);
  });
}

std::unique_ptr<Step> make_unary_step(const StepSource& source) { return unary_step(source); }

std::unique_ptr<Step> make_binary_step(const StepSource& source) {
  if (auto step = make_elementwise_step(source)) return step;
  return std::make_unique<BinaryStep>(source, binary_function(source.node().op));
}

}  // namespace opq
