// Concat and Transpose: elements move, whatever their type. An element is a word of 4 or 8 bytes, or 1 or 2 where it is
// held as an integer.
#include <algorithm>
#include <cstring>

#include "runtime/loop_axes.h"
#include "runtime/parallel.h"
#include "runtime/shapes.h"
#include "runtime/step.h"

namespace opq {
namespace {

class ConcatStep final : public Step {
 public:
  explicit ConcatStep(const StepSource& source) : y_(source.fused.output) {
    const Shape& y = source.output_shape();
    const auto axis = normalized_axis(source.node().integer("axis"), std::ssize(y));
    const int64_t inner = element_count(Shape(y.begin() + axis + 1, y.end())) * element_size(source.type());
    outer_ = element_count(Shape(y.begin(), y.begin() + axis));
    row_bytes_ = y[axis] * inner;
    int64_t offset = 0;
    for (std::size_t i = 0; i < source.node().inputs.size(); ++i) {
      const int64_t bytes = source.input_shape(i)[axis] * inner;
      if (bytes > 0) parts_.push_back({source.node().input(i), offset, bytes});
      offset += bytes;
    }
  }

  void run(const Execution& execution) const override {
    const int64_t parts = std::ssize(parts_);
    if (parts == 0) return;
    parallel_ranges(execution.pool, outer_ * parts, grain_of(row_bytes_ / parts / 4),
                    [&](int64_t begin, int64_t end, int) {
                      for (int64_t i = begin; i < end; ++i) {
                        const Part& part = parts_[i % parts];
                        const int64_t row = i / parts;
                        std::memcpy(execution.output<std::byte>(y_) + row * row_bytes_ + part.offset,
                                    execution.input<std::byte>(part.value) + row * part.bytes, part.bytes);
                      }
                    });
  }

 private:
  struct Part {
    int value;
    int64_t offset, bytes;  // of its part of an output row
  };

  const int y_;
  std::vector<Part> parts_;
  int64_t outer_, row_bytes_;
};

template <typename Word>
class TransposeStep final : public Step {
 public:
  explicit TransposeStep(const StepSource& source)
      : x_(source.node().input(0)), y_(source.fused.output), empty_(element_count(source.output_shape()) == 0) {
    const Shape& x = source.input_shape(0);
    const std::vector<int64_t> strides = contiguous_strides(x);
    std::vector<LoopAxis> axes;  // of the output, with the input's strides
    for (const int64_t axis : source.node().integers("perm")) axes.push_back({x[axis], strides[axis]});
    outer_ = merged(axes);
    if (outer_.empty()) outer_.push_back({1, 1});
    inner_ = outer_.back();
    outer_.pop_back();
  }

  void run(const Execution& execution) const override {
    if (empty_) return;
    const Word* x = execution.input<Word>(x_);
    Word* y = execution.output<Word>(y_);
    parallel_ranges(execution.pool, loop_count(outer_), grain_of(inner_.size), [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        const Word* in = x + offset_of(outer_, row);
        Word* out = y + row * inner_.size;
        if (inner_.stride == 1) {
          std::copy_n(in, inner_.size, out);
        } else {
          for (int64_t i = 0; i < inner_.size; ++i) out[i] = in[i * inner_.stride];
        }
      }
    });
  }

 private:
  const int x_, y_;
  const bool empty_;
  std::vector<LoopAxis> outer_;
  LoopAxis inner_;
};

}  // namespace

std::unique_ptr<Step> make_concat_step(const StepSource& source) { return std::make_unique<ConcatStep>(source); }

std::unique_ptr<Step> make_transpose_step(const StepSource& source) {
  if (source.input_grid()) {
    if (source.precision() == Precision::kInt8) return std::make_unique<TransposeStep<uint8_t>>(source);
    return std::make_unique<TransposeStep<uint16_t>>(source);
  }
  if (element_size(source.type()) == 8) return std::make_unique<TransposeStep<uint64_t>>(source);
  return std::make_unique<TransposeStep<uint32_t>>(source);
}

}  // namespace opq
