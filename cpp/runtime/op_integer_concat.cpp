// Concat to a value that is held as integers. What lies on another grid is moved to that of the output by way of
// float32, some elements at a time, as its definition has it.
#include <algorithm>
#include <cstring>

#include "runtime/parallel.h"
#include "runtime/shapes.h"
#include "runtime/step.h"

namespace opq {
namespace {

constexpr std::size_t kAtOnce = 1024;  // floats, in the L1 cache

template <typename T>
class IntegerConcatStep final : public Step {
 public:
  explicit IntegerConcatStep(const StepSource& source) : y_(source.fused.output), grid_(*source.output_grid()) {
    const Shape& y = source.output_shape();
    const auto axis = normalized_axis(source.node().integer("axis"), std::ssize(y));
    const int64_t inner = element_count(Shape(y.begin() + axis + 1, y.end()));
    outer_ = element_count(Shape(y.begin(), y.begin() + axis));
    row_ = y[axis] * inner;
    int64_t offset = 0;
    for (std::size_t i = 0; i < source.node().inputs.size(); ++i) {
      const int64_t count = source.input_shape(i)[axis] * inner;
      if (count > 0) parts_.push_back({source.node().input(i), source.held[source.node().input(i)], offset, count});
      offset += count;
    }
  }

  void run(const Execution& execution) const override {
    for (const Part& part : parts_) {
      parallel_ranges(execution.pool, outer_ * part.count, kGrain, [&](int64_t begin, int64_t end, int) {
        while (begin < end) {
          const int64_t row = begin / part.count, at = begin % part.count, n = std::min(part.count - at, end - begin);
          copy(execution, part, begin, row * row_ + part.offset + at, static_cast<std::size_t>(n));
          begin += n;
        }
      });
    }
  }

 private:
  struct Part {
    int value;
    std::optional<Grid> grid;  // none: float32
    int64_t offset, count;     // of its part of an output row
  };

  void copy(const Execution& execution, const Part& part, int64_t from, int64_t to, std::size_t n) const {
    T* y = execution.output<T>(y_) + to;
    if (!part.grid) return quantize(execution.input<float>(part.value) + from, grid_, y, n, execution.kernels);
    const T* x = execution.input<T>(part.value) + from;
    if (*part.grid == grid_) {
      std::memcpy(y, x, n * sizeof(T));
      return;
    }
    alignas(64) float floats[kAtOnce];
    for (std::size_t i = 0; i < n; i += kAtOnce) {
      const std::size_t count = std::min(kAtOnce, n - i);
      dequantize(x + i, *part.grid, floats, count, execution.kernels);
      quantize(floats, grid_, y + i, count, execution.kernels);
    }
  }

  const int y_;
  const Grid grid_;
  std::vector<Part> parts_;
  int64_t outer_, row_;  // elements of an output row
};

}  // namespace

std::unique_ptr<Step> make_integer_concat_step(const StepSource& source) {
  return with_held_type(source.precision(), [&](auto tag) -> std::unique_ptr<Step> {
    return std::make_unique<IntegerConcatStep<typename decltype(tag)::type>>(source);
  });
}

}  // namespace opq
