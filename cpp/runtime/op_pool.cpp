// MaxPool and AveragePool over [N, C, H, W]; 1-D has height 1.
//
//   y[oy, ox] = max or mean over taps (ky, kx) of x[oy * sy - top + ky * dy, ox * sx - left + kx * dx]
//
// The kernels take one pointer per tap to a row in which output pixels are neighbours. So every channel is first copied
// to padded rows, split into `stride` phases: column c of the padded row lies at phase[c % sx][c / sx]. Taps in rows
// outside of x are left out, those in columns outside read the padding: -infinity for the maximum, 0 for the mean.
#include <algorithm>
#include <limits>

#include "runtime/conv_layer_planes.h"
#include "runtime/parallel.h"
#include "runtime/shapes.h"
#include "runtime/step.h"
#include "runtime/window.h"

namespace opq {
namespace {

class PoolStep final : public Step {
 public:
  explicit PoolStep(const StepSource& source)
      : x_(source.node().input(0)), y_(source.fused.output), average_(source.node().op == Op::kAveragePool) {
    const Node& node = source.node();
    const Windows windows = make_windows(node, source.input_shape(0), node.integers("kernel_shape"));
    h_ = windows.h;
    w_ = windows.w;
    planes_ = element_count(source.output_shape()) == 0 ? 0 : source.output_shape()[0] * source.output_shape()[1];
    const int64_t taps = saturating_product({h_.kernel, w_.kernel});
    if (taps > kMaxTaps) node.fail(ErrorCode::kUnsupported, "its window has more than 2^24 elements");
    columns_ = PhaseAxis(w_.kernel, w_.stride, w_.dilation);
    phase_floats_ = columns_.size(w_.out);
    row_floats_ = element_count({columns_.phases(), phase_floats_});
    if (average_) {
      const bool count_padding = node.integer("count_include_pad") == 1;
      row_taps_ = counted_taps(h_, count_padding);
      column_taps_ = counted_taps(w_, count_padding);
    }
    // Per thread: the padded rows, the tap pointers, the divisors of one output row.
    const int64_t floats = align_to_pointer(element_count({h_.in, row_floats_})) + taps * kFloatsPerPointer + w_.out;
    thread_floats_ = static_cast<int64_t>(align_up(floats * sizeof(float)) / sizeof(float));
  }

  std::size_t scratch_floats(int threads) const override { return static_cast<std::size_t>(thread_floats_) * threads; }

  void run(const Execution& execution) const override {
    const float* x = execution.input<float>(x_);
    float* y = execution.output<float>(y_);
    const int64_t work = saturating_product({h_.out, w_.out, h_.kernel});
    parallel_ranges(execution.pool, planes_, grain_of(work), [&](int64_t begin, int64_t end, int thread) {
      float* scratch = execution.scratch + thread * thread_floats_;
      for (int64_t plane = begin; plane < end; ++plane) {
        run_plane(x + plane * h_.in * w_.in, y + plane * h_.out * w_.out, scratch, execution.kernels);
      }
    });
  }

 private:
  static constexpr int64_t kMaxTaps = 1 << 24;
  static constexpr int64_t kFloatsPerPointer = sizeof(const float*) / sizeof(float);

  // By output position: how many taps a mean is divided by; with the padding counted, those of it that exist.
  static std::vector<int64_t> counted_taps(const Window& window, bool count_padding) {
    const int64_t begin = count_padding ? -window.pad_begin : 0;
    const int64_t end = window.in + (count_padding ? window.pad_end : 0);
    std::vector<int64_t> taps(window.out);
    for (int64_t out = 0; out < window.out; ++out) {
      const int64_t start = out * window.stride - window.pad_begin;
      const int64_t first = start >= begin ? 0 : (begin - start + window.dilation - 1) / window.dilation;
      const int64_t last = start >= end ? 0 : (end - start + window.dilation - 1) / window.dilation;
      taps[out] = std::max<int64_t>(0, std::min(last, window.kernel) - first);
    }
    return taps;
  }

  void run_plane(const float* x, float* y, float* rows, const Kernels& kernels) const {
    for (int64_t row = 0; row < h_.in; ++row) split_row(x + row * w_.in, rows + row * row_floats_);
    auto** taps = reinterpret_cast<const float**>(rows + align_to_pointer(h_.in * row_floats_));
    float* divisors = reinterpret_cast<float*>(taps + h_.kernel * w_.kernel);
    for (int64_t out = 0; out < h_.out; ++out) {
      int64_t count = 0;
      for (int64_t ky = 0; ky < h_.kernel; ++ky) {
        const int64_t row = out * h_.stride - h_.pad_begin + ky * h_.dilation;
        if (row < 0 || row >= h_.in) continue;
        for (int64_t kx = 0; kx < w_.kernel; ++kx) {
          taps[count++] = rows + row * row_floats_ + columns_.phase_of(kx) * phase_floats_ + columns_.shift_of(kx);
        }
      }
      float* y_row = y + out * w_.out;
      if (average_) {
        for (int64_t i = 0; i < w_.out; ++i) divisors[i] = static_cast<float>(row_taps_[out] * column_taps_[i]);
        average(taps, count, divisors, y_row, kernels);
      } else if (count == 0) {
        std::fill_n(y_row, w_.out, -std::numeric_limits<float>::infinity());
      } else {
        kernels.max_row(taps, static_cast<int>(count), y_row, static_cast<int>(w_.out));
      }
    }
  }

  void average(const float* const* taps, int64_t count, const float* divisors, float* y, const Kernels& kernels) const {
    if (count > 0) return kernels.average_row(taps, static_cast<int>(count), divisors, y, static_cast<int>(w_.out));
    for (int64_t i = 0; i < w_.out; ++i) y[i] = 0.0f / divisors[i];
  }

  void split_row(const float* x, float* row) const {
    const float padding = average_ ? 0.0f : -std::numeric_limits<float>::infinity();
    for (int64_t phase = 0; phase < columns_.phases(); ++phase, row += phase_floats_) {
      const PhaseAxis::Inside inside = columns_.inside(phase, w_.pad_begin, w_.in, phase_floats_);
      const int64_t end = inside.begin + inside.count;
      std::fill(row, row + inside.begin, padding);
      if (inside.count > 0) copy_every(w_.stride, x + inside.first, row + inside.begin, inside.count);
      std::fill(row + end, row + phase_floats_, padding);
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

  static int64_t align_to_pointer(int64_t floats) {
    return (floats + kFloatsPerPointer - 1) / kFloatsPerPointer * kFloatsPerPointer;
  }

  const int x_, y_;
  const bool average_;
  Window h_, w_;
  PhaseAxis columns_{1, 1, 1};
  int64_t planes_, phase_floats_, row_floats_, thread_floats_;
  std::vector<int64_t> row_taps_, column_taps_;  // AveragePool: taps that count, by output row and column
};

}  // namespace

std::unique_ptr<Step> make_pool_step(const StepSource& source) { return std::make_unique<PoolStep>(source); }

}  // namespace opq
