// Pad: every output index of an axis copies an input index, or none (constant).
//
// Axes behind the last padded one move as one block. Along the last padded axis the part that is copied unchanged is
// one run.
#include <algorithm>
#include <bit>
#include <cmath>

#include "runtime/parallel.h"
#include "runtime/shapes.h"
#include "runtime/step.h"

namespace opq {
namespace {

constexpr int64_t kConstant = -1;

enum class PadMode { kConstant, kEdge, kReflect, kWrap };

PadMode pad_mode(const std::string& name) {
  if (name == "edge") return PadMode::kEdge;
  if (name == "reflect") return PadMode::kReflect;
  return name == "wrap" ? PadMode::kWrap : PadMode::kConstant;
}

struct PadAxis {
  int64_t in, out;  // sizes
  int64_t begin;    // output index of input index 0

  // The input index that output index `o` copies.
  int64_t source(int64_t o, PadMode mode) const {
    const int64_t i = o - begin;
    if (i >= 0 && i < in) return i;
    const auto modulo = [](int64_t a, int64_t b) { return (a % b + b) % b; };
    switch (mode) {
      case PadMode::kConstant:
        return kConstant;
      case PadMode::kEdge:
        return std::clamp<int64_t>(i, 0, in - 1);
      case PadMode::kWrap:
        return modulo(i, in);
      case PadMode::kReflect:  // 0 1 2 1 0 1 2 1 ...: the edge is not repeated
        const int64_t period = std::max<int64_t>(1, 2 * (in - 1)), phase = modulo(i, period);
        return std::min(phase, period - phase);
    }
    return kConstant;
  }
};

// The constant as a word of the element type.
template <typename Word>
Word constant_word(const StepSource& source) {
  const float value = source.node().number("value");
  if (source.type() == ElementType::kFloat32) return static_cast<Word>(std::bit_cast<uint32_t>(value));
  if (pad_mode(source.node().text("mode")) != PadMode::kConstant) return 0;
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
        mode_(pad_mode(source.node().text("mode"))),
        value_(constant_word<Word>(source)) {
    const Shape &x = source.input_shape(0), &y = source.output_shape();
    const auto& pads = source.node().integers("pads");
    for (std::size_t axis = 0; axis < x.size(); ++axis) outer_.push_back({x[axis], y[axis], pads[axis]});
    const auto is_padded = [&](std::size_t axis) { return pads[axis] != 0 || pads[axis + x.size()] != 0; };
    for (; outer_.size() > 1 && !is_padded(outer_.size() - 1); outer_.pop_back()) block_ *= outer_.back().in;
    if (!outer_.empty()) {
      last_ = outer_.back();
      outer_.pop_back();
    }
    for (const PadAxis& axis : outer_) rows_ *= axis.out;
    if (element_count(y) == 0) rows_ = 0;
    run_begin_ = std::clamp<int64_t>(last_.begin, 0, last_.out);
    run_end_ = std::clamp<int64_t>(last_.begin + last_.in, run_begin_, last_.out);
  }

  void run(const Execution& execution) const override {
    const Word* x = execution.input<Word>(x_);
    Word* y = execution.output<Word>(y_);
    parallel_ranges(execution.pool, rows_, grain_of(last_.out * block_), [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        Word* out = y + row * last_.out * block_;
        const int64_t source = source_row(row);
        if (source == kConstant) {
          std::fill_n(out, last_.out * block_, value_);
        } else {
          copy_row(x + source * last_.in * block_, out);
        }
      }
    });
  }

 private:
  // The input row that output row `row` copies; a row is the last padded axis and what lies behind it.
  int64_t source_row(int64_t row) const {
    int64_t source = 0, stride = 1;
    for (auto axis = outer_.rbegin(); axis != outer_.rend(); row /= axis->out, stride *= axis->in, ++axis) {
      const int64_t index = axis->source(row % axis->out, mode_);
      if (index == kConstant) return kConstant;
      source += index * stride;
    }
    return source;
  }

  void copy_row(const Word* in, Word* out) const {
    copy_blocks(in, out, 0, run_begin_);
    if (run_begin_ < run_end_) {
      std::copy_n(in + (run_begin_ - last_.begin) * block_, (run_end_ - run_begin_) * block_,
                  out + run_begin_ * block_);
    }
    copy_blocks(in, out, run_end_, last_.out);
  }

  void copy_blocks(const Word* in, Word* out, int64_t begin, int64_t end) const {
    for (int64_t o = begin; o < end; ++o) {
      const int64_t index = last_.source(o, mode_);
      if (index == kConstant) {
        std::fill_n(out + o * block_, block_, value_);
      } else {
        std::copy_n(in + index * block_, block_, out + o * block_);
      }
    }
  }

  const int x_, y_;
  const PadMode mode_;
  const Word value_;
  std::vector<PadAxis> outer_;   // the axes before the last padded one
  PadAxis last_{1, 1, 0};        // the last padded one
  int64_t block_ = 1;            // elements behind it
  int64_t rows_ = 1;             // output rows
  int64_t run_begin_, run_end_;  // the part of an output row that is copied unchanged
};

}  // namespace

std::unique_ptr<Step> make_pad_step(const StepSource& source) {
  if (element_size(source.type()) == 8) return std::make_unique<PadStep<uint64_t>>(source);
  return std::make_unique<PadStep<uint32_t>>(source);
}

}  // namespace opq
