// MaxPool over [N, C, H, W], of float32 or of activations that are held as integers; 1-D has height 1.
//
//   y[oy, ox] = max over taps (ky, kx) of x[oy * sy - top + ky * dy, ox * sx - left + kx * dx]
//
// Taps outside of x are left out. Some output rows at a time, in three steps whose loops run over neighbours:
//
//   tall    [rows][W]              the maximum over the taps ky
//   phases  [sx][rows][columns]    column c of it, padded, at phase[c % sx][c / sx]; the padding is the least value
//   wide    [rows][columns]        the maximum over the taps kx, each one shift of one phase, of all rows in one loop:
//                                  what lies between the rows is left behind
#include <algorithm>
#include <limits>

#include "runtime/conv_layer_planes.h"
#include "runtime/parallel.h"
#include "runtime/saturating_product.h"
#include "runtime/scratch.h"
#include "runtime/shapes.h"
#include "runtime/step.h"
#include "runtime/window.h"

namespace opq {
namespace {

constexpr int64_t kRowsAtOnce = 8 * 1024;  // bytes of `tall`
constexpr int64_t kReadBehind = 31;        // elements, copy_rows_u8 and copy_rows_i16

// The least values of what a maximum is taken of, and the kernels.
template <typename T>
struct Maximum;
template <>
struct Maximum<float> {
  static constexpr float kLeast = -std::numeric_limits<float>::infinity();
  static constexpr auto kRow = &Kernels::max_row;
  static constexpr auto kCopy = &Kernels::copy_rows;
};
template <>
struct Maximum<uint8_t> {
  static constexpr uint8_t kLeast = 0;
  static constexpr auto kRow = &Kernels::max_row_u8;
  static constexpr auto kCopy = &Kernels::copy_rows_u8;
};
template <>
struct Maximum<int16_t> {
  static constexpr int16_t kLeast = -32767;
  static constexpr auto kRow = &Kernels::max_row_i16;
  static constexpr auto kCopy = &Kernels::copy_rows_i16;
};

template <typename T>
class MaxPoolStep final : public Step {
 public:
  explicit MaxPoolStep(const StepSource& source) : x_(source.node().input(0)), y_(source.fused.output) {
    const Shape& y = source.output_shape();
    const Windows windows = pool_windows(source.node(), source.input_shape(0), y);
    h_ = windows.h;
    w_ = windows.w;
    planes_ = element_count(y) == 0 ? 0 : y[0] * y[1];
    columns_ = PhaseAxis(w_.kernel, w_.stride, w_.dilation);
    row_elements_ = columns_.size(w_.out);
    rows_ = std::clamp<int64_t>(kRowsAtOnce / (w_.in * int64_t{sizeof(T)}), 1, std::max<int64_t>(1, h_.out));
  }

  std::size_t scratch_floats(int threads) const override {
    ScratchSize size;
    for (int i = 0; i < threads; ++i) size.add<std::byte>(thread_bytes());
    return size.bytes() / sizeof(float);
  }

  void run(const Execution& execution) const override {
    const T* x = execution.input<T>(x_);
    T* y = execution.output<T>(y_);
    auto* own = Scratch(reinterpret_cast<std::byte*>(execution.scratch)).take<std::byte>(0);
    const int64_t work = saturating_product({h_.out, w_.out, h_.kernel});
    parallel_ranges(execution.pool, planes_, grain_of(work), [&](int64_t begin, int64_t end, int thread) {
      const Space space(*this, own + static_cast<std::size_t>(thread) * align_up(thread_bytes()));
      std::fill_n(space.phases, columns_.phases() * rows_ * row_elements_, Maximum<T>::kLeast);
      for (int64_t plane = begin; plane < end; ++plane) {
        for (int64_t row = 0; row < h_.out; row += rows_) {
          run_rows(x + plane * h_.in * w_.in, row, std::min(rows_, h_.out - row), y + (plane * h_.out + row) * w_.out,
                   space, execution.kernels);
        }
      }
    });
  }

 private:
  // A thread's own.
  struct Space {
    Space(const MaxPoolStep& step, std::byte* memory) {
      Scratch scratch(memory);
      taps = scratch.take<const T*>(step.most_taps());
      tall = scratch.take<T>(step.tall_elements());
      phases = scratch.take<T>(step.phase_elements());
      wide = scratch.take<T>(step.wide_elements());
    }
    const T** taps;
    T *tall, *phases, *wide;
  };

  std::size_t most_taps() const { return static_cast<std::size_t>(std::max(std::min(h_.kernel, h_.in), w_.kernel)); }
  std::size_t tall_elements() const { return elements({rows_, w_.in}); }
  std::size_t phase_elements() const { return elements({columns_.phases(), rows_, row_elements_}); }
  std::size_t wide_elements() const { return elements({rows_, row_elements_}); }
  static std::size_t elements(std::initializer_list<int64_t> sizes) {
    return static_cast<std::size_t>(saturating_product(sizes)) + kReadBehind;
  }
  std::size_t thread_bytes() const {
    return ScratchSize()
        .add<const T*>(most_taps())
        .template add<T>(tall_elements())
        .template add<T>(phase_elements())
        .template add<T>(wide_elements())
        .bytes();
  }

  // Output rows [first, first + count) of the plane x.
  void run_rows(const T* x, int64_t first, int64_t count, T* y, const Space& space, const Kernels& kernels) const {
    for (int64_t row = 0; row < count; ++row) {
      const int64_t out = first + row;
      const Window::Taps inside = h_.taps_within(out, 0, h_.in);
      T* tall = space.tall + row * w_.in;
      if (inside.count() == 0) {
        std::fill_n(tall, w_.in, Maximum<T>::kLeast);
        continue;
      }
      const T* tap = x + (out * h_.stride - h_.pad_begin + inside.first * h_.dilation) * w_.in;
      for (int64_t i = 0; i < inside.count(); ++i) space.taps[i] = tap + i * h_.dilation * w_.in;
      (kernels.*Maximum<T>::kRow)(space.taps, static_cast<int>(inside.count()), tall, w_.in);
    }
    for (int64_t phase = 0; phase < columns_.phases(); ++phase) {
      const PhaseAxis::Inside inside = columns_.inside(phase, w_.pad_begin, w_.in, row_elements_);
      if (inside.count == 0) continue;  // padding alone; its first element may lie outside of `tall`
      (kernels.*Maximum<T>::kCopy)(space.tall + inside.first, w_.in, w_.stride,
                                   space.phases + phase * rows_ * row_elements_ + inside.begin, row_elements_, count,
                                   inside.count);
    }
    for (int64_t kx = 0; kx < w_.kernel; ++kx) {
      space.taps[kx] = space.phases + columns_.phase_of(kx) * rows_ * row_elements_ + columns_.shift_of(kx);
    }
    (kernels.*Maximum<T>::kRow)(space.taps, static_cast<int>(w_.kernel), space.wide,
                                (count - 1) * row_elements_ + w_.out);
    (kernels.*Maximum<T>::kCopy)(space.wide, row_elements_, 1, y, w_.out, count, w_.out);
  }

  const int x_, y_;
  Window h_, w_;
  PhaseAxis columns_{1, 1, 1};
  int64_t planes_;
  int64_t row_elements_, rows_;
};

}  // namespace

std::unique_ptr<Step> make_max_pool_step(const StepSource& source) {
  return std::make_unique<MaxPoolStep<float>>(source);
}

std::unique_ptr<Step> make_integer_max_step(const StepSource& source) {
  return with_held_type(source.precision(), [&](auto tag) -> std::unique_ptr<Step> {
    return std::make_unique<MaxPoolStep<typename decltype(tag)::type>>(source);
  });
}

}  // namespace opq
