// Conv and Linear: the packed layer with scale, bias, residual and activation in its epilogue.
#include "runtime/layer_shape.h"
#include "runtime/shapes.h"

namespace opq {
namespace {

class WeightStep : public Step {
 protected:
  explicit WeightStep(const StepSource& source)
      : weights_(source.network.weights(source.fused.node)),
        x_(source.node().input(0)),
        y_(source.fused.output),
        residual_(source.fused.residual),
        activation_(source.fused.activation) {}

  Epilogue epilogue(const Execution& execution) const {
    return {.scale = weights_.scale.empty() ? nullptr : weights_.scale.data(),
            .bias = weights_.bias.empty() ? nullptr : weights_.bias.data(),
            .residual = residual_ == kAbsent ? nullptr : execution.input<float>(residual_),
            .act = activation_};
  }

  const NodeWeights& weights_;
  const int x_, y_, residual_;
  const Activation activation_;
};

class ConvStep final : public WeightStep {
 public:
  ConvStep(const StepSource& source, const ConvShape& shape) : WeightStep(source), shape_(shape) {}

  void run(const Execution& execution) const override {
    weights_.conv->run(shape_, execution.input<float>(x_), execution.output<float>(y_), epilogue(execution),
                       execution.scratch, execution.pool, execution.kernels);
  }
  std::size_t scratch_floats(int threads) const override { return weights_.conv->scratch_floats(shape_, threads); }
  const char* kernel_name() const override { return weights_.conv->kernel_name(); }
  int64_t nonzeros() const override { return weights_.conv->nonzeros(); }

 private:
  const ConvShape shape_;
};

class LinearStep final : public WeightStep {
 public:
  LinearStep(const StepSource& source, int64_t batch) : WeightStep(source), batch_(batch) {}

  void run(const Execution& execution) const override {
    weights_.linear->run(batch_, execution.input<float>(x_), execution.output<float>(y_), epilogue(execution),
                         execution.scratch, execution.pool, execution.kernels);
  }
  std::size_t scratch_floats(int threads) const override { return weights_.linear->scratch_floats(batch_, threads); }
  const char* kernel_name() const override { return weights_.linear->kernel_name(); }
  int64_t nonzeros() const override { return weights_.linear->nonzeros(); }

 private:
  const int64_t batch_;
};

class EmptyStep final : public Step {
  void run(const Execution&) const override {}
};

}  // namespace

std::unique_ptr<Step> make_conv_step(const StepSource& source) {
  if (element_count(source.output_shape()) == 0) return std::make_unique<EmptyStep>();
  const ConvShape shape = layer_shape(source);
  if (source.network.weights(source.fused.node).linear) return std::make_unique<LinearStep>(source, shape.n);
  return std::make_unique<ConvStep>(source, shape);
}

}  // namespace opq
