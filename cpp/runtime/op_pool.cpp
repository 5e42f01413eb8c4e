// MaxPool and AveragePool over [N, C, H, W]; 1-D has height 1.
//
//   y[oy, ox] = max or mean over taps (ky, kx) of x[oy * sy - top + ky * dy, ox * sx - left + kx * dx]
//
// The kernels take one pointer per tap to a row in which output pixels are neighbours. So every channel is first copied
// to padded rows, split into `stride` phases: column c of the padded row lies at phase[c % sx][c / sx]. Taps in rows
// outside of x are left out, those in columns outside read the padding: the least value for the maximum, 0 for the
// mean. A maximum of activations that are held as integers is one of these integers.
#include <algorithm>
#include <limits>
#include <type_traits>

#include "runtime/conv_layer_planes.h"
#include "runtime/integer_planes.h"
#include "runtime/parallel.h"
#include "runtime/saturating_product.h"
#include "runtime/shapes.h"
#include "runtime/step.h"
#include "runtime/window.h"

namespace opq {
namespace {

// The least values of what a maximum is taken of.
template <typename T>
constexpr T kLeast = -std::numeric_limits<T>::infinity();
template <>
constexpr uint8_t kLeast<uint8_t> = 0;
template <>
constexpr int16_t kLeast<int16_t> = -32767;

void max_row(const float* const* rows, int taps, float* y, int64_t n, const Kernels& kernels) {
  kernels.max_row(rows, taps, y, n);
}
void max_row(const uint8_t* const* rows, int taps, uint8_t* y, int64_t n, const Kernels& kernels) {
  kernels.max_row_u8(rows, taps, y, n);
}
void max_row(const int16_t* const* rows, int taps, int16_t* y, int64_t n, const Kernels& kernels) {
  kernels.max_row_i16(rows, taps, y, n);
}

// T: float, or for a maximum what activations are held in.
template <typename T>
class PoolStep final : public Step {
 public:
  explicit PoolStep(const StepSource& source)
      : x_(source.node().input(0)), y_(source.fused.output), average_(source.node().op == Op::kAveragePool) {
    const Node& node = source.node();
    const Shape &x = source.input_shape(0), &y = source.output_shape();
    const Windows windows = make_windows(node, x, node.integers("kernel_shape"));
    check_padded_size(node, windows, x, y);
    h_ = windows.h;
    w_ = windows.w;
    if (saturating_product({h_.kernel, w_.kernel}) > kMaxTaps) {
      node.fail(ErrorCode::kUnsupported, "its window has more than 2^24 elements");
    }
    count_padding_ = average_ && node.integer("count_include_pad") == 1;
    if (element_count(y) == 0) return;
    planes_ = y[0] * y[1];
    columns_ = PhaseAxis(w_.kernel, w_.stride, w_.dilation);
    phase_elements_ = columns_.size(w_.out);
    row_elements_ = columns_.phases() * phase_elements_;
    max_taps_ = std::min(h_.kernel, h_.in) * w_.kernel;
    const int64_t divisors = average_ ? w_.out : 0;
    shared_floats_ = align_to_cache_line(w_.kernel * kFloatsPerPointer + divisors);
    thread_floats_ = align_to_cache_line(max_taps_ * kFloatsPerPointer + divisors + h_.in * row_elements_ + w_.in +
                                         2 * kIntegerSlack);
  }

  std::size_t scratch_floats(int threads) const override {
    return static_cast<std::size_t>(shared_floats_ + thread_floats_ * threads);
  }

  void run(const Execution& execution) const override {
    if (planes_ == 0) return;
    const T* x = execution.input<T>(x_);
    T* y = execution.output<T>(y_);
    auto* shifts = reinterpret_cast<std::ptrdiff_t*>(execution.scratch);
    for (int64_t kx = 0; kx < w_.kernel; ++kx) {
      shifts[kx] = columns_.phase_of(kx) * phase_elements_ + columns_.shift_of(kx);
    }
    float* column_taps = reinterpret_cast<float*>(shifts + w_.kernel);
    if (average_) {
      for (int64_t i = 0; i < w_.out; ++i) column_taps[i] = counted_taps(w_, i);
    }
    const int64_t work = saturating_product({h_.out, w_.out, h_.kernel});
    parallel_ranges(execution.pool, planes_, grain_of(work), [&](int64_t begin, int64_t end, int thread) {
      auto** taps = reinterpret_cast<const T**>(execution.scratch + shared_floats_ + thread * thread_floats_);
      float* divisors = reinterpret_cast<float*>(taps + max_taps_);
      T* rows = reinterpret_cast<T*>(divisors + (average_ ? w_.out : 0));
      const Scratch scratch = {shifts, column_taps, taps, divisors, rows};
      for (int64_t plane = begin; plane < end; ++plane) {
        run_plane(x + plane * h_.in * w_.in, y + plane * h_.out * w_.out, scratch, execution.kernels);
      }
    });
  }

 private:
  static constexpr int64_t kMaxTaps = 1 << 24;  // numbers of taps are exact as floats
  static constexpr int64_t kFloatsPerPointer = sizeof(const float*) / sizeof(float);

  struct Scratch {
    // Shared by all threads.
    const std::ptrdiff_t* shifts;  // by kx: where the tap starts in a padded row
    const float* column_taps;      // AveragePool, by output column: taps that count
    // A thread's own.
    const T** taps;   // [max_taps_]: of one output row
    float* divisors;  // AveragePool, by output column of one row
    T* rows;          // [h_.in][row_elements_]: the padded rows of one plane
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

  // Of integers: the maximum over the rows first, whose columns alone are then split.
  void run_integer_plane(const T* x, T* y, const Scratch& scratch, const Kernels& kernels) const {
    T *row = scratch.rows, *largest = row + row_elements_ + kIntegerSlack;
    for (int64_t out = 0; out < h_.out; ++out, y += w_.out) {
      const Window::Taps inside = h_.taps_within(out, 0, h_.in);
      if (inside.count() == 0) {
        std::fill_n(y, w_.out, kLeast<T>);
        continue;
      }
      const T* first = x + (out * h_.stride - h_.pad_begin + inside.first * h_.dilation) * w_.in;
      for (int64_t i = 0; i < inside.count(); ++i) scratch.taps[i] = first + i * h_.dilation * w_.in;
      max_row(scratch.taps, static_cast<int>(inside.count()), largest, w_.in, kernels);
      split_integer_row(largest, row, kernels);
      for (int64_t kx = 0; kx < w_.kernel; ++kx) scratch.taps[kx] = row + scratch.shifts[kx];
      max_row(scratch.taps, static_cast<int>(w_.kernel), y, w_.out, kernels);
    }
  }

  void run_plane(const T* x, T* y, const Scratch& scratch, const Kernels& kernels) const {
    if constexpr (!std::is_same_v<T, float>) return run_integer_plane(x, y, scratch, kernels);
    for (int64_t row = 0; row < h_.in; ++row) split_row(x + row * w_.in, scratch.rows + row * row_elements_);
    for (int64_t out = 0; out < h_.out; ++out) {
      const Window::Taps inside = h_.taps_within(out, 0, h_.in);
      int64_t count = 0;
      for (int64_t ky = inside.first; ky < inside.last; ++ky) {
        const T* row = scratch.rows + (out * h_.stride - h_.pad_begin + ky * h_.dilation) * row_elements_;
        for (int64_t kx = 0; kx < w_.kernel; ++kx) scratch.taps[count++] = row + scratch.shifts[kx];
      }
      T* y_row = y + out * w_.out;
      if constexpr (std::is_same_v<T, float>) {
        if (average_) {
          const float row_taps = counted_taps(h_, out);
          for (int64_t i = 0; i < w_.out; ++i) scratch.divisors[i] = row_taps * scratch.column_taps[i];
          average(scratch, count, y_row, kernels);
          continue;
        }
      }
      if (count == 0) {
        std::fill_n(y_row, w_.out, kLeast<T>);
      } else {
        max_row(scratch.taps, static_cast<int>(count), y_row, w_.out, kernels);
      }
    }
  }

  void average(const Scratch& scratch, int64_t count, float* y, const Kernels& kernels) const {
    if (count > 0) return kernels.average_row(scratch.taps, static_cast<int>(count), scratch.divisors, y, w_.out);
    for (int64_t i = 0; i < w_.out; ++i) y[i] = 0.0f / scratch.divisors[i];
  }

  void split_row(const T* x, T* row) const {
    const T padding = average_ ? T{0} : kLeast<T>;
    for (int64_t phase = 0; phase < columns_.phases(); ++phase, row += phase_elements_) {
      const PhaseAxis::Inside inside = columns_.inside(phase, w_.pad_begin, w_.in, phase_elements_);
      const int64_t end = inside.begin + inside.count;
      std::fill(row, row + inside.begin, padding);
      if (inside.count > 0) copy_every(w_.stride, x + inside.first, row + inside.begin, inside.count);
      std::fill(row + end, row + phase_elements_, padding);
    }
  }

  void split_integer_row(const T* x, T* row, const Kernels& kernels) const {
    for (int64_t phase = 0; phase < columns_.phases(); ++phase, row += phase_elements_) {
      const PhaseAxis::Inside inside = columns_.inside(phase, w_.pad_begin, w_.in, phase_elements_);
      fill_plane({.x = x + inside.first,
                  .x_stride = 0,
                  .x_step = w_.stride,
                  .y = row,
                  .rows = 1,
                  .columns = phase_elements_,
                  .first_row = 0,
                  .row_count = 1,
                  .first_column = inside.begin,
                  .column_count = inside.count,
                  .zero = kLeast<T>},
                 kernels);
    }
  }

  // out[i] = in[i * stride]; the usual strides are constants for the compiler.
  static void copy_every(int64_t stride, const T* in, T* out, int64_t count) {
    if (stride == 1) {
      std::copy_n(in, count, out);
    } else if (stride == 2) {
      for (int64_t i = 0; i < count; ++i) out[i] = in[2 * i];
    } else {
      for (int64_t i = 0; i < count; ++i) out[i] = in[i * stride];
    }
  }

  const int x_, y_;
  const bool average_;
  bool count_padding_ = false;
  Window h_, w_;
  PhaseAxis columns_{1, 1, 1};
  int64_t planes_ = 0;  // to be done; 0: y has no elements
  int64_t phase_elements_ = 0, row_elements_ = 0, max_taps_ = 0, shared_floats_ = 0, thread_floats_ = 0;
};

}  // namespace

std::unique_ptr<Step> make_pool_step(const StepSource& source) { return std::make_unique<PoolStep<float>>(source); }

std::unique_ptr<Step> make_integer_max_step(const StepSource& source) {
  return with_held_type(source.precision(), [&](auto tag) -> std::unique_ptr<Step> {
    return std::make_unique<PoolStep<typename decltype(tag)::type>>(source);
  });
}

}  // namespace opq
