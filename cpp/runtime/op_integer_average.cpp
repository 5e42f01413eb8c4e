// AveragePool, and ReduceMean over the pixels of an image, of activations that are held as integers:
//
//   y = float(sum of (q - zero)) * (scale / float(count))
//
// The sum is exact. Padding is 0 and adds nothing to it; whether it counts is AveragePool's attribute.
#include <algorithm>
#include <cstring>

#include "runtime/parallel.h"
#include "runtime/shapes.h"
#include "runtime/step.h"
#include "runtime/window.h"

namespace opq {
namespace {

int64_t sum_of(const int16_t* x, int64_t n) {
  int64_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i];
  return sum;
}

// Eight bytes at a time, added in four lanes of 16 bits: 128 times 2 * 255 fits.
int64_t sum_of(const uint8_t* x, int64_t n) {
  constexpr uint64_t kEven = 0x00ff00ff00ff00ff;
  int64_t sum = 0, i = 0;
  while (n - i >= 8) {
    uint64_t lanes = 0;
    for (const int64_t end = std::min(i + 8 * 128, n - 7); i < end; i += 8) {
      uint64_t eight;
      std::memcpy(&eight, x + i, sizeof eight);
      lanes += (eight & kEven) + (eight >> 8 & kEven);
    }
    for (; lanes != 0; lanes >>= 16) sum += static_cast<int64_t>(lanes & 0xffff);
  }
  for (; i < n; ++i) sum += x[i];
  return sum;
}

template <typename T>
class IntegerAverageStep : public Step {
 public:
  explicit IntegerAverageStep(const StepSource& source)
      : x_(source.node().input(0)),
        y_(source.fused.output),
        grid_(*source.input_grid()),
        y_grid_(source.output_grid()) {
    const Node& node = source.node();
    const Shape &x = source.input_shape(0), &y = source.output_shape();
    if (node.op == Op::kAveragePool) {
      const Windows windows = make_windows(node, x, node.integers("kernel_shape"));
      h_ = windows.h;
      w_ = windows.w;
      count_padding_ = node.integer("count_include_pad") == 1;
    } else {
      h_.in = h_.kernel = 1;
      w_.in = w_.kernel = element_count(Shape(x.begin() + 2, x.end()));
    }
    planes_ = element_count(y) == 0 ? 0 : x[0] * x[1];
    is_global_ = planes_ > 0 && covers(h_) && covers(w_);
  }

  void run(const Execution& execution) const override {
    if (is_global_) return run_global(execution);
    const int64_t inputs = h_.in * w_.in, outputs = h_.out * w_.out;
    parallel_ranges(execution.pool, planes_, grain_of(std::max(inputs, outputs)), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin * outputs; i < end * outputs; ++i) {
        const T* x = execution.input<T>(x_) + i / outputs * inputs;
        write(execution, i, average(x, i % outputs / w_.out, i % w_.out));
      }
    });
  }

 private:
  // Whether the axis has one window, which is all of it.
  static bool covers(const Window& axis) {
    const Window::Taps taps = axis.taps_within(0, 0, axis.in);
    return axis.out == 1 && axis.dilation == 1 && taps.count() == axis.in;
  }

  // The means of whole planes.
  void run_global(const Execution& execution) const {
    const int64_t inputs = h_.in * w_.in;
    const float factor = grid_.scale / (counted(h_, 0) * counted(w_, 0));
    parallel_ranges(execution.pool, planes_, grain_of(inputs), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t sum = sum_of(execution.input<T>(x_) + i * inputs, inputs);
        write(execution, i, static_cast<float>(sum - grid_.zero * inputs) * factor);
      }
    });
  }

  void write(const Execution& execution, int64_t i, float mean) const {
    if (y_grid_) {
      execution.output<T>(y_)[i] = static_cast<T>(y_grid_->quantize(mean));
    } else {
      execution.output<float>(y_)[i] = mean;
    }
  }

  // At output pixel (r, p) of the plane x.
  float average(const T* x, int64_t r, int64_t p) const {
    const Window::Taps rows = h_.taps_within(r, 0, h_.in), columns = w_.taps_within(p, 0, w_.in);
    int64_t sum = 0;
    for (int64_t ky = rows.first; ky < rows.last; ++ky) {
      const T* row = x + (r * h_.stride - h_.pad_begin + ky * h_.dilation) * w_.in + p * w_.stride - w_.pad_begin;
      for (int64_t kx = columns.first; kx < columns.last; ++kx) sum += row[kx * w_.dilation];
    }
    const int64_t centred = sum - grid_.zero * rows.count() * columns.count();
    return static_cast<float>(centred) * (grid_.scale / (counted(h_, r) * counted(w_, p)));
  }

  // Taps that count along one axis; with the padding, those of it that exist.
  float counted(const Window& axis, int64_t out) const {
    const int64_t begin = count_padding_ ? -axis.pad_begin : 0;
    return static_cast<float>(axis.taps_within(out, begin, axis.in + (count_padding_ ? axis.pad_end : 0)).count());
  }

  const int x_, y_;
  const Grid grid_;
  const std::optional<Grid> y_grid_;
  Window h_, w_;
  bool count_padding_ = false, is_global_;
  int64_t planes_;
};

}  // namespace

bool is_integer_average(const StepSource& source) {
  const Node& node = source.node();
  if (node.op == Op::kAveragePool) return true;
  const auto rank = std::ssize(source.input_shape(0));
  if (node.op != Op::kReduceMean || rank < 3) return false;
  std::vector<bool> is_reduced(static_cast<std::size_t>(rank));
  for (const int64_t axis : node.integers("axes")) is_reduced[normalized_axis(axis, rank)] = true;
  return !is_reduced[0] && !is_reduced[1] && std::count(is_reduced.begin(), is_reduced.end(), true) == rank - 2;
}

std::unique_ptr<Step> make_integer_average_step(const StepSource& source) {
  return with_held_type(source.precision(), [&](auto tag) -> std::unique_ptr<Step> {
    return std::make_unique<IntegerAverageStep<typename decltype(tag)::type>>(source);
  });
}

}  // namespace opq
