// Pad: every output index of an axis is mapped to the input index it copies, or to none (constant).
//
// Axes behind the last padded one move as one block. Along the last padded axis the part that is copied unchanged is
// one run.
#include <algorithm>
#include <bit>
#include <cmath>

#include "runtime/loop_axes.h"
#include "runtime/parallel.h"
#include "runtime/shapes.h"
#include "runtime/step.h"

namespace opq {
namespace {

constexpr int64_t kConstant = -1;

// The input index that output index `i` copies, where i = 0 is input index 0 and i may lie outside of [0, size).
int64_t source_index(int64_t i, int64_t size, const std::string& mode) {
  if (i >= 0 && i < size) return i;
  if (mode == "constant") return kConstant;
  if (mode == "edge") return std::clamp<int64_t>(i, 0, size - 1);
  const auto modulo = [](int64_t a, int64_t b) { return (a % b + b) % b; };
  if (mode == "wrap") return modulo(i, size);
  // reflect: 0 1 2 1 | 0 1 2 1 | ... without repeating the edge
  if (size == 1) return 0;
  const int64_t phase = modulo(i, 2 * (size - 1));
  return std::min(phase, 2 * (size - 1) - phase);
}

// The constant as a word of the element type.
template <typename Word>
Word constant_word(const StepSource& source) {
  const float value = source.node().number("value");
  if (source.type() == ElementType::kFloat32) return static_cast<Word>(std::bit_cast<uint32_t>(value));
  const float limit = source.type() == ElementType::kInt32 ? 0x1p31f : 0x1p63f;  // both exact
  if (!(value >= -limit && value < limit) || value != std::trunc(value)) {
    source.node().fail(ErrorCode::kInput, "its value is no " + std::string(element_name(source.type())));
  }
  return static_cast<Word>(static_cast<int64_t>(value));
}

template <typename Word>
class PadStep final : public Step {
 public:
  explicit PadStep(const StepSource& source)
      : x_(source.node().input(0)),
        y_(source.fused.output),
        value_(constant_word<Word>(source)),
        x_shape_(source.input_shape(0)),
        y_shape_(source.output_shape()) {
    const Node& node = source.node();
    const auto& pads = node.integers("pads");
    const std::size_t rank = x_shape_.size();
    for (std::size_t axis = 0; axis < rank; ++axis) {
      if (pads[axis] != 0 || pads[axis + rank] != 0) last_ = axis;
    }
    for (std::size_t axis = rank > 0 ? last_ + 1 : 0; axis < rank; ++axis) block_ *= x_shape_[axis];
    for (std::size_t axis = 0; axis < std::min(rank, last_ + 1); ++axis) {
      auto& map = maps_.emplace_back(y_shape_[axis]);
      for (int64_t i = 0; i < y_shape_[axis]; ++i) {
        map[i] = source_index(i - pads[axis], x_shape_[axis], node.text("mode"));
      }
      if (axis < last_) rows_ *= y_shape_[axis];
    }
    if (rank == 0) maps_.push_back({0});  // one element, copied
    run_begin_ = rank == 0 ? 0 : std::max<int64_t>(0, pads[last_]);
    const int64_t run_end = rank == 0 ? 1 : std::min(y_shape_[last_], pads[last_] + x_shape_[last_]);
    run_length_ = std::max<int64_t>(0, run_end - run_begin_);
    if (element_count(y_shape_) == 0) rows_ = 0;
  }

  void run(const Execution& execution) const override {
    const Word* x = execution.input<Word>(x_);
    Word* y = execution.output<Word>(y_);
    const int64_t row_size = std::ssize(maps_.back());
    parallel_ranges(execution.pool, rows_, grain_of(row_size * block_), [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t source = source_row(row);
        Word* out = y + row * row_size * block_;
        if (source == kConstant) {
          std::fill_n(out, row_size * block_, value_);
        } else {
          copy_row(x + source * source_row_size() * block_, out);
        }
      }
    });
  }

 private:
  int64_t source_row_size() const { return x_shape_.empty() ? 1 : x_shape_[last_]; }

  // The input row (all axes before the last padded one) that output row `row` copies.
  int64_t source_row(int64_t row) const {
    int64_t source = 0, stride = 1;
    for (std::size_t axis = maps_.size() - 1; axis-- > 0; row /= y_shape_[axis]) {
      const int64_t index = maps_[axis][row % y_shape_[axis]];
      if (index == kConstant) return kConstant;
      source += index * stride;
      stride *= x_shape_[axis];
    }
    return source;
  }

  void copy_row(const Word* in, Word* out) const {
    const std::vector<int64_t>& map = maps_.back();
    if (run_length_ > 0) std::copy_n(in + map[run_begin_] * block_, run_length_ * block_, out + run_begin_ * block_);
    copy_blocks(in, out, 0, run_begin_);
    copy_blocks(in, out, run_begin_ + run_length_, std::ssize(map));
  }

  void copy_blocks(const Word* in, Word* out, int64_t begin, int64_t end) const {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t index = maps_.back()[i];
      if (index == kConstant) {
        std::fill_n(out + i * block_, block_, value_);
      } else {
        std::copy_n(in + index * block_, block_, out + i * block_);
      }
    }
  }

  const int x_, y_;
  const Word value_;
  const Shape x_shape_, y_shape_;
  std::size_t last_ = 0;                    // the last padded axis
  int64_t block_ = 1;                       // elements behind it
  int64_t rows_ = 1;                        // output rows before it
  std::vector<std::vector<int64_t>> maps_;  // by axis up to the last padded one
  int64_t run_begin_, run_length_;          // the part of an output row that is copied unchanged
};

}  // namespace

std::unique_ptr<Step> make_pad_step(const StepSource& source) {
  if (element_size(source.type()) == 8) return std::make_unique<PadStep<uint64_t>>(source);
  return std::make_unique<PadStep<uint32_t>>(source);
}

}  // namespace opq
