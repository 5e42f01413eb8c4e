// AveragePool over [N, C, H, W] of float32; 1-D has height 1.
//
//   y[oy, ox] = mean over taps (ky, kx) of x[oy * sy - top + ky * dy, ox * sx - left + kx * dx]
//
// The kernel takes one pointer per tap to a row in which output pixels are neighbours. So every channel is first copied
// to padded rows, split into `stride` phases: column c of the padded row lies at phase[c % sx][c / sx]. Taps in rows
// outside of x are left out, those in columns outside read the padding, 0.
#include <algorithm>

#include "runtime/conv_layer_planes.h"
#include "runtime/parallel.h"
#include "runtime/saturating_product.h"
#include "runtime/shapes.h"
#include "runtime/step.h"
#include "runtime/window.h"

namespace opq {
namespace {

class AveragePoolStep final : public Step {
 public:
  explicit AveragePoolStep(const StepSource& source) : x_(source.node().input(0)), y_(source.fused.output) {
    const Node& node = source.node();
    const Shape& y = source.output_shape();
    const Windows windows = pool_windows(node, source.input_shape(0), y);
    h_ = windows.h;
    w_ = windows.w;
    count_padding_ = node.integer("count_include_pad") == 1;
    if (element_count(y) == 0) return;
    planes_ = y[0] * y[1];
    columns_ = PhaseAxis(w_.kernel, w_.stride, w_.dilation);
    phase_elements_ = columns_.size(w_.out);
    row_elements_ = columns_.phases() * phase_elements_;
    max_taps_ = std::min(h_.kernel, h_.in) * w_.kernel;
    shared_floats_ = align_to_cache_line(w_.kernel * kFloatsPerPointer + w_.out);
    thread_floats_ = align_to_cache_line(max_taps_ * kFloatsPerPointer + w_.out + h_.in * row_elements_);
  }

  std::size_t scratch_floats(int threads) const override {
    return static_cast<std::size_t>(shared_floats_ + thread_floats_ * threads);
  }

  void run(const Execution& execution) const override {
    if (planes_ == 0) return;
    const float* x = execution.input<float>(x_);
    float* y = execution.output<float>(y_);
    auto* shifts = reinterpret_cast<std::ptrdiff_t*>(execution.scratch);
    for (int64_t kx = 0; kx < w_.kernel; ++kx) {
      shifts[kx] = columns_.phase_of(kx) * phase_elements_ + columns_.shift_of(kx);
    }
    float* column_taps = reinterpret_cast<float*>(shifts + w_.kernel);
    for (int64_t i = 0; i < w_.out; ++i) column_taps[i] = counted_taps(w_, i);
    const int64_t work = saturating_product({h_.out, w_.out, h_.kernel});
    parallel_ranges(execution.pool, planes_, grain_of(work), [&](int64_t begin, int64_t end, int thread) {
      auto** taps = reinterpret_cast<const float**>(execution.scratch + shared_floats_ + thread * thread_floats_);
      float* divisors = reinterpret_cast<float*>(taps + max_taps_);
      float* rows = reinterpret_cast<float*>(divisors + w_.out);
      const Scratch scratch = {shifts, column_taps, taps, divisors, rows};
      for (int64_t plane = begin; plane < end; ++plane) {
        run_plane(x + plane * h_.in * w_.in, y + plane * h_.out * w_.out, scratch, execution.kernels);
      }
    });
  }

 private:
  static constexpr int64_t kFloatsPerPointer = sizeof(const float*) / sizeof(float);

  struct Scratch {
    // Shared by all threads.
    const std::ptrdiff_t* shifts;  // by kx: where the tap starts in a padded row
    const float* column_taps;      // by output column: taps that count
    // A thread's own.
    const float** taps;  // [max_taps_]: of one output row
    float* divisors;     // by output column of one row
    float* rows;         // [h_.in][row_elements_]: the padded rows of one plane
  };

  static int64_t align_to_cache_line(int64_t floats) {
    return static_cast<int64_t>(align_up(floats * sizeof(float)) / sizeof(float));
  }

  // How many taps a mean at output position `out` of one axis is divided by; with the padding counted, those of it that
  // exist.
  float counted_taps(const Window& axis, int64_t out) const {
    const int64_t begin = count_padding_ ? -axis.pad_begin : 0;
    const int64_t end = axis.in + (count_padding_ ? axis.pad_end : 0);
    return static_cast<float>(axis.taps_within(out, begin, end).count());
  }

  void run_plane(const float* x, float* y, const Scratch& scratch, const Kernels& kernels) const {
    for (int64_t row = 0; row < h_.in; ++row) split_row(x + row * w_.in, scratch.rows + row * row_elements_);
    for (int64_t out = 0; out < h_.out; ++out) {
      const Window::Taps inside = h_.taps_within(out, 0, h_.in);
      int64_t count = 0;
      for (int64_t ky = inside.first; ky < inside.last; ++ky) {
        const float* row = scratch.rows + (out * h_.stride - h_.pad_begin + ky * h_.dilation) * row_elements_;
        for (int64_t kx = 0; kx < w_.kernel; ++kx) scratch.taps[count++] = row + scratch.shifts[kx];
      }
      const float row_taps = counted_taps(h_, out);
      for (int64_t i = 0; i < w_.out; ++i) scratch.divisors[i] = row_taps * scratch.column_taps[i];
      average(scratch, count, y + out * w_.out, kernels);
    }
  }

  void average(const Scratch& scratch, int64_t count, float* y, const Kernels& kernels) const {
    if (count > 0) return kernels.average_row(scratch.taps, static_cast<int>(count), scratch.divisors, y, w_.out);
    for (int64_t i = 0; i < w_.out; ++i) y[i] = 0.0f / scratch.divisors[i];
  }

  void split_row(const float* x, float* row) const {
    for (int64_t phase = 0; phase < columns_.phases(); ++phase, row += phase_elements_) {
      const PhaseAxis::Inside inside = columns_.inside(phase, w_.pad_begin, w_.in, phase_elements_);
      const int64_t end = inside.begin + inside.count;
      std::fill(row, row + inside.begin, 0.0f);
      if (inside.count > 0) copy_every(w_.stride, x + inside.first, row + inside.begin, inside.count);
      std::fill(row + end, row + phase_elements_, 0.0f);
    }
  }

  // out[i] = in[i * stride]; the usual strides are constants for the compiler.
  static void copy_every(int64_t stride, const float* in, float* out, int64_t count) {
    if (stride == 1) {
      std::copy_n(in, count, out);
    } else if (stride == 2) {
      for (int64_t i = 0; i < count; ++i) out[i] = in[2 * i];
    } else {
      for (int64_t i = 0; i < count; ++i) out[i] = in[i * stride];
    }
  }

  const int x_, y_;
  bool count_padding_ = false;
  Window h_, w_;
  PhaseAxis columns_{1, 1, 1};
  int64_t planes_ = 0;  // to be done; 0: y has no elements
  int64_t phase_elements_ = 0, row_elements_ = 0, max_taps_ = 0, shared_floats_ = 0, thread_floats_ = 0;
};

}  // namespace

std::unique_ptr<Step> make_average_pool_step(const StepSource& source) {
  return std::make_unique<AveragePoolStep>(source);
}

}  // namespace opq
