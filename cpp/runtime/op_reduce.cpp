// ReduceMean, Softmax and LRN: sums over several elements for each output.
#include <algorithm>

#include "runtime/loop_axes.h"
#include "runtime/parallel.h"
#include "runtime/shapes.h"
#include "runtime/step.h"

namespace opq {
namespace {

// Copies the elements that the loops visit, in their order.
void gather(const float* x, std::span<const LoopAxis> loops, float* out) {
  if (loops.empty()) {
    *out = *x;
    return;
  }
  const LoopAxis inner = loops.back();
  const auto outer = loops.first(loops.size() - 1);
  const int64_t rows = loop_count(outer);
  for (int64_t row = 0; row < rows; ++row) {
    const float* in = x + offset_of(outer, row);
    for (int64_t i = 0; i < inner.size; ++i) *out++ = in[i * inner.stride];
  }
}

class ReduceMeanStep final : public Step {
 public:
  explicit ReduceMeanStep(const StepSource& source)
      : x_(source.node().input(0)), y_(source.fused.output), outputs_(element_count(source.output_shape())) {
    const Shape& x = source.input_shape(0);
    const std::vector<int64_t> strides = contiguous_strides(x);
    std::vector<bool> is_reduced(x.size());
    for (const int64_t axis : source.node().integers("axes")) is_reduced[normalized_axis(axis, std::ssize(x))] = true;
    for (std::size_t axis = 0; axis < x.size(); ++axis) {
      (is_reduced[axis] ? reduced_ : kept_).push_back({x[axis], strides[axis]});
    }
    kept_ = merged(kept_);
    reduced_ = merged(reduced_);
    count_ = loop_count(reduced_);
    contiguous_ = reduced_.empty() || (reduced_.size() == 1 && reduced_[0].stride == 1);
    thread_floats_ = contiguous_ ? 0 : static_cast<std::size_t>(count_);
  }

  std::size_t scratch_floats(int threads) const override { return thread_floats_ * threads; }

  // Every mean is a sum over contiguous elements, if need be of a copy: one order of additions for all layouts.
  void run(const Execution& execution) const override {
    const float* x = execution.input<float>(x_);
    float* y = execution.output<float>(y_);
    parallel_ranges(execution.pool, outputs_, grain_of(count_), [&](int64_t begin, int64_t end, int thread) {
      float* copy = execution.scratch + thread * thread_floats_;
      for (int64_t i = begin; i < end; ++i) {
        const float* elements = x + offset_of(kept_, i);
        if (!contiguous_) {
          gather(elements, reduced_, copy);
          elements = copy;
        }
        y[i] = execution.kernels.sum(elements, count_) / static_cast<float>(count_);
      }
    });
  }

 private:
  const int x_, y_;
  const int64_t outputs_;
  std::vector<LoopAxis> kept_, reduced_;
  int64_t count_;  // elements per mean
  bool contiguous_;
  std::size_t thread_floats_;
};

class SoftmaxStep final : public Step {
 public:
  explicit SoftmaxStep(const StepSource& source) : x_(source.node().input(0)), y_(source.fused.output) {
    const Shape& x = source.output_shape();
    const auto axis = normalized_axis(source.node().integer("axis"), std::ssize(x));
    size_ = x[axis];
    inner_ = contiguous_strides(x)[axis];
    rows_ = element_count(x) == 0 ? 0 : element_count(x) / size_;
    thread_floats_ = inner_ == 1 ? 0 : 2 * static_cast<std::size_t>(size_);
  }

  std::size_t scratch_floats(int threads) const override { return thread_floats_ * threads; }

  void run(const Execution& execution) const override {
    parallel_ranges(execution.pool, rows_, grain_of(size_), [&](int64_t begin, int64_t end, int thread) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t offset = row / inner_ * inner_ * size_ + row % inner_;
        const float* x = execution.input<float>(x_) + offset;
        float* y = execution.output<float>(y_) + offset;
        if (inner_ == 1) {
          execution.kernels.softmax(x, y, size_);
          continue;
        }
        float* copy = execution.scratch + thread * thread_floats_;
        float* result = copy + size_;
        for (int64_t i = 0; i < size_; ++i) copy[i] = x[i * inner_];
        execution.kernels.softmax(copy, result, size_);
        for (int64_t i = 0; i < size_; ++i) y[i * inner_] = result[i];
      }
    });
  }

 private:
  const int x_, y_;
  int64_t size_, inner_, rows_;  // elements along the axis, distance between them, number of sums
  std::size_t thread_floats_;
};

// y[c] = x[c] / (bias + alpha / size * sum of x[i]^2 for i in [c - floor((size - 1) / 2), c + ceil((size - 1) /
// 2)])^beta
class LRNStep final : public Step {
 public:
  explicit LRNStep(const StepSource& source)
      : x_(source.node().input(0)),
        y_(source.fused.output),
        size_(source.node().integer("size")),
        alpha_(source.node().number("alpha") / static_cast<float>(size_)),
        beta_(source.node().number("beta")),
        bias_(source.node().number("bias")) {
    const Shape& x = source.output_shape();
    channels_ = x[1];
    pixels_ = element_count(Shape(x.begin() + 2, x.end()));
    planes_ = element_count(x) == 0 ? 0 : x[0] * channels_;
  }

  std::size_t scratch_floats(int threads) const override {
    return static_cast<std::size_t>(thread_floats()) * static_cast<std::size_t>(threads);
  }

  void run(const Execution& execution) const override {
    const float* x = execution.input<float>(x_);
    float* y = execution.output<float>(y_);
    const int64_t pieces = (pixels_ + kPixels - 1) / kPixels;
    parallel_ranges(execution.pool, planes_ * pieces, grain_of(std::min(pixels_, kPixels) * 4),
                    [&](int64_t begin, int64_t end, int thread) {
                      auto** rows = reinterpret_cast<const float**>(execution.scratch + thread * thread_floats());
                      for (int64_t i = begin; i < end; ++i) {
                        const int64_t piece = i / channels_ % pieces, channel = i % channels_;
                        const int64_t first = std::max<int64_t>(0, channel - (size_ - 1) / 2);
                        const int64_t last = std::min(channels_ - 1, channel + size_ / 2);
                        const int64_t plane = i / channels_ / pieces * channels_ + channel, pixel = piece * kPixels;
                        const int64_t offset = plane * pixels_ + pixel;
                        for (int64_t c = first; c <= last; ++c) rows[c - first] = x + offset + (c - channel) * pixels_;
                        execution.kernels.lrn(x + offset, rows, static_cast<int>(last - first + 1), y + offset,
                                              static_cast<std::size_t>(std::min(kPixels, pixels_ - pixel)), alpha_,
                                              beta_, bias_);
                      }
                    });
  }

 private:
  static constexpr int64_t kPixels = 512;  // per piece, of all channels in turn: the L1 cache keeps a window's rows

  // Pointers to the rows of a window, in whole cache lines.
  int64_t thread_floats() const {
    const auto rows = static_cast<std::size_t>(std::min(size_, channels_));
    return static_cast<int64_t>(align_up(rows * sizeof(const float*)) / sizeof(float));
  }

  const int x_, y_;
  const int64_t size_;
  const float alpha_, beta_, bias_;
  int64_t channels_, pixels_, planes_;
};

}  // namespace

std::unique_ptr<Step> make_reduce_step(const StepSource& source) { return std::make_unique<ReduceMeanStep>(source); }
std::unique_ptr<Step> make_softmax_step(const StepSource& source) { return std::make_unique<SoftmaxStep>(source); }
std::unique_ptr<Step> make_lrn_step(const StepSource& source) { return std::make_unique<LRNStep>(source); }

}  // namespace opq
