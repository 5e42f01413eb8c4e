// Clamps of values that are held as integers, and any step in float32 on operands that are held: they are dequantized
// for it, and its result is quantized. Functions of single elements do so some elements at a time, with broadcasting
// too.
#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "runtime/parallel.h"
#include "runtime/scratch.h"
#include "runtime/shapes.h"
#include "runtime/step.h"

namespace opq {
namespace {

// Relu and Clip: the ends on the grid.
template <typename T>
class ClampStep final : public Step {
 public:
  ClampStep(const StepSource& source, float lo, float hi)
      : x_(source.node().input(0)),
        y_(source.fused.output),
        count_(element_count(source.output_shape())),
        least_(static_cast<T>(source.input_grid()->quantize(lo))),
        most_(static_cast<T>(source.input_grid()->quantize(hi))) {}

  void run(const Execution& execution) const override {
    const T* x = execution.input<T>(x_);
    T* y = execution.output<T>(y_);
    parallel_ranges(execution.pool, count_, kGrain, [&](int64_t begin, int64_t end, int) {
      const auto n = static_cast<std::size_t>(end - begin);
      if constexpr (sizeof(T) == 1) {
        execution.kernels.clamp_bytes(x + begin, least_, most_, y + begin, n);
      } else {
        execution.kernels.clamp_words(x + begin, least_, most_, y + begin, n);
      }
    });
  }

 private:
  const int x_, y_;
  const int64_t count_;
  const T least_, most_;
};

template <typename T>
class HeldElementwiseStep final : public Step {
 public:
  HeldElementwiseStep(const StepSource& source, std::unique_ptr<ElementwiseStep> step)
      : step_(std::move(step)), y_(source.fused.output), grid_(source.output_grid()) {
    for (const int value : source.node().inputs) operands_.push_back({value, source.held[value]});
  }

  void run(const Execution& execution) const override {
    step_->loops().for_pieces(execution.pool, kAtOnce, [&](int64_t a, int64_t b, int64_t y, int64_t count) {
      run_on(execution, {a, b}, y, count);
    });
  }

 private:
  static constexpr int64_t kAtOnce = 1024;  // floats, in the L1 cache
  struct Operand {
    int value;
    std::optional<Grid> grid;
  };

  void run_on(const Execution& execution, const std::array<int64_t, 2>& first, int64_t first_y, int64_t count) const {
    alignas(64) float floats[2][kAtOnce], result[kAtOnce];
    const auto n = static_cast<std::size_t>(count);
    const float* x[2];
    for (std::size_t i = 0; i < operands_.size(); ++i) {
      const auto& [value, grid] = operands_[i];
      x[i] = grid ? floats[i] : execution.input<float>(value) + first[i];
      const std::size_t needed = step_->loops().steps()[i] == 0 ? 1 : n;
      if (grid) dequantize(execution.input<T>(value) + first[i], *grid, floats[i], needed, execution.kernels);
    }
    if (!grid_) return step_->run_on(x, execution.output<float>(y_) + first_y, n, execution.kernels);
    step_->run_on(x, result, n, execution.kernels);
    quantize(result, *grid_, execution.output<T>(y_) + first_y, n, execution.kernels);
  }

  std::unique_ptr<ElementwiseStep> step_;
  const int y_;
  const std::optional<Grid> grid_;
  std::vector<Operand> operands_;  // one or two
};

template <typename T>
class FloatStep final : public Step {
 public:
  FloatStep(const StepSource& source, std::unique_ptr<Step> step)
      : step_(std::move(step)), values_(source.shapes.size()), output_(value_of(source, source.fused.output)) {
    for (const int value : operands(source.network.graph(), source.fused)) {
      const bool is_known = std::any_of(held_.begin(), held_.end(), [=](const Value& v) { return v.number == value; });
      if (source.held[value] && !is_known) held_.push_back(value_of(source, value));
    }
  }

  std::size_t scratch_floats(int threads) const override {
    ScratchSize size;
    size.add<std::byte*>(values_);
    for (const Value& value : held_) size.add<float>(static_cast<std::size_t>(value.count));
    if (output_.grid) size.add<float>(static_cast<std::size_t>(output_.count));
    size.add<float>(step_->scratch_floats(threads));
    return size.bytes() / sizeof(float) + 1;
  }

  void run(const Execution& execution) const override {
    Scratch memory(reinterpret_cast<std::byte*>(execution.scratch));
    auto** addresses = memory.take<std::byte*>(values_);
    std::copy_n(execution.addresses, values_, addresses);
    for (const Value& value : held_) {
      float* floats = memory.take<float>(static_cast<std::size_t>(value.count));
      const T* q = execution.input<T>(value.number);
      parallel_ranges(execution.pool, value.count, kGrain, [&](int64_t begin, int64_t end, int) {
        dequantize(q + begin, *value.grid, floats + begin, static_cast<std::size_t>(end - begin), execution.kernels);
      });
      addresses[value.number] = reinterpret_cast<std::byte*>(floats);
    }
    float* result = nullptr;
    if (output_.grid) {
      result = memory.take<float>(static_cast<std::size_t>(output_.count));
      addresses[output_.number] = reinterpret_cast<std::byte*>(result);
    }
    step_->run({addresses, memory.take<float>(0), execution.pool, execution.kernels});
    if (!result) return;
    T* q = execution.output<T>(output_.number);
    parallel_ranges(execution.pool, output_.count, kGrain, [&](int64_t begin, int64_t end, int) {
      quantize(result + begin, *output_.grid, q + begin, static_cast<std::size_t>(end - begin), execution.kernels);
    });
  }

  const char* kernel_name() const override { return step_->kernel_name(); }
  int64_t nonzeros() const override { return step_->nonzeros(); }

 private:
  struct Value {
    int number;
    int64_t count;
    std::optional<Grid> grid;
  };

  static Value value_of(const StepSource& source, int value) {
    return {value, element_count(source.shapes[value]), source.held[value]};
  }

  std::unique_ptr<Step> step_;
  std::size_t values_;
  Value output_;
  std::vector<Value> held_;  // operands, each once
};

}  // namespace

std::unique_ptr<Step> make_clamp_step(const StepSource& source) {
  const Node& node = source.node();
  const bool is_relu = node.op == Op::kRelu;
  const float lo = is_relu ? 0.0f : node.number("min");
  const float hi = is_relu ? std::numeric_limits<float>::infinity() : node.number("max");
  return with_held_type(source.precision(), [&](auto tag) -> std::unique_ptr<Step> {
    return std::make_unique<ClampStep<typename decltype(tag)::type>>(source, lo, hi);
  });
}

std::unique_ptr<Step> make_float_step(const StepSource& source) {
  const std::vector<int> values = operands(source.network.graph(), source.fused);
  const bool reads_held = std::any_of(values.begin(), values.end(), [&](int v) { return source.held[v].has_value(); });
  if (!reads_held && !source.output_grid()) return make_plain_step(source);
  if (auto step = make_elementwise_step(source)) {
    return with_held_type(source.precision(), [&](auto tag) -> std::unique_ptr<Step> {
      return std::make_unique<HeldElementwiseStep<typename decltype(tag)::type>>(source, std::move(step));
    });
  }
  auto step = make_plain_step(source);
  return with_held_type(source.precision(), [&](auto tag) -> std::unique_ptr<Step> {
    return std::make_unique<FloatStep<typename decltype(tag)::type>>(source, std::move(step));
  });
}

}  // namespace opq
