// Functions of one element, and sums, differences, products and quotients of two with NumPy's broadcasting.
#include <limits>
#include <type_traits>

#include "runtime/broadcast.h"
#include "runtime/step.h"

namespace opq {
namespace {

// Float32: function(operands, steps, y, n, kernels) on any piece of the innermost loop.
template <typename Function>
class FunctionStep final : public ElementwiseStep {
 public:
  FunctionStep(const StepSource& source, Function function)
      : ElementwiseStep(loops_of(source)), x_(source.node().inputs), y_(source.fused.output), function_(function) {}

  void run(const Execution& execution) const override {
    loops().for_pieces(execution.pool, kGrain, [&](int64_t a, int64_t b, int64_t y, int64_t count) {
      const float* operands[] = {execution.input<float>(x_.front()) + a, execution.input<float>(x_.back()) + b};
      run_on(operands, execution.output<float>(y_) + y, static_cast<std::size_t>(count), execution.kernels);
    });
  }

  void run_on(const float* const* operands, float* y, std::size_t n, const Kernels& kernels) const override {
    function_(operands, loops().steps(), y, n, kernels);
  }

 private:
  static Broadcast loops_of(const StepSource& source) {
    return {source.input_shape(0), source.input_shape(source.node().inputs.size() - 1), source.output_shape()};
  }

  const std::vector<int> x_;  // one or two
  const int y_;
  const Function function_;
};

template <typename Function>
std::unique_ptr<ElementwiseStep> function_step(const StepSource& source, Function function) {
  return std::make_unique<FunctionStep<Function>>(source, function);
}

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

class IntegerStep final : public Step {
 public:
  IntegerStep(const StepSource& source, Binary function)
      : node_(source.node()),
        y_(source.fused.output),
        function_(function),
        type_(source.type()),
        loops_(source.input_shape(0), source.input_shape(1), source.output_shape()) {}

  void run(const Execution& execution) const override {
    if (type_ == ElementType::kInt32) return run_as<int32_t>(execution);
    run_as<int64_t>(execution);
  }

 private:
  template <typename T>
  void run_as(const Execution& execution) const {
    loops_.for_pieces(execution.pool, kGrain, [&](int64_t offset_a, int64_t offset_b, int64_t offset_y, int64_t n) {
      const T *a = execution.input<T>(node_.inputs[0]) + offset_a, *b = execution.input<T>(node_.inputs[1]) + offset_b;
      T* y = execution.output<T>(y_) + offset_y;
      for (int64_t i = 0; i < n; ++i) y[i] = apply(function_, a[i * loops_.steps()[0]], b[i * loops_.steps()[1]]);
    });
  }

  const Node& node_;
  const int y_;
  const Binary function_;
  const ElementType type_;
  const Broadcast loops_;
};

std::unique_ptr<ElementwiseStep> unary_step(const StepSource& source) {
  const Node& node = source.node();
  const auto step = [&](Unary function, float a = 0, float b = 0) {
    return function_step(source, [=](const float* const* x, const int*, float* y, std::size_t n,
                                     const Kernels& kernels) { kernels.unary(function, x[0], y, n, a, b); });
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
  if (op < Op::kAdd || op > Op::kDiv || source.type() != ElementType::kFloat32) return nullptr;
  const Activation activation = source.fused.activation;  // behind an Add of operands of one shape
  if (activation.kind != Activation::kNone) {
    return function_step(source, [=](const float* const* x, const int*, float* y, std::size_t n,
                                     const Kernels& kernels) { kernels.add_activate(x[0], x[1], activation, y, n); });
  }
  const Binary function = binary_function(op);
  return function_step(source,
                       [=](const float* const* x, const int* steps, float* y, std::size_t n, const Kernels& kernels) {
                         kernels.binary(function, x[0], steps[0], x[1], steps[1], y, n);
                       });
}

std::unique_ptr<Step> make_function_step(const StepSource& source) {
  if (auto step = make_elementwise_step(source)) return step;
  return std::make_unique<IntegerStep>(source, binary_function(source.node().op));
}

}  // namespace opq
