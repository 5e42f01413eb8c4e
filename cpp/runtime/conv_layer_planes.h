// The input of a convolution, padded and split by stride, so that every tap of the kernel reads contiguous rows.
//
// With stride s, output column x reads input column x * s + kx * dilation - pad: columns of one remainder ("phase")
// modulo s, for each kx. Splitting the padded plane by phase makes them neighbours:
//
//   padded row, s = 2    a b c d e f g      phase 0   a c e g      tap kx = 0: a c e    kx = 2: c e g
//                                           phase 1   b d f        tap kx = 1: b d f
//
// and the same for rows. Only phases that a tap reads are made. A channel's planes lie one after another:
//
//   [phases_y][phases_x][rows][columns]
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "runtime/layers.h"

namespace opq {

// One axis: which phases its taps need, and where in a phase each tap starts. The remainders t * dilation mod stride
// repeat with a period of stride / gcd(stride, dilation): phases are numbered in the order in which the taps meet them.
class PhaseAxis {
 public:
  PhaseAxis(int64_t kernel, int64_t stride, int64_t dilation);

  int64_t stride() const { return stride_; }
  int64_t taps() const { return kernel_; }
  int64_t phases() const { return kernel_ < period_ ? kernel_ : period_; }
  int64_t phase_of(int64_t tap) const { return tap % period_; }                    // the phase that the tap reads
  int64_t shift_of(int64_t tap) const { return tap * dilation_ / stride_; }        // ... from this element on
  int64_t size(int64_t outputs) const { return outputs + shift_of(kernel_ - 1); }  // elements of a phase

  // Elements [begin, begin + count) of a phase are inside of the image, the first of them is the image's element
  // `first`: element j is the image's j * stride + remainder - pad.
  struct Inside {
    int64_t begin, count, first;
  };
  Inside inside(int64_t phase, int64_t pad, int64_t size, int64_t elements) const;

 private:
  int64_t kernel_, stride_, dilation_, period_;
};

class InputPlanes {
 public:
  explicit InputPlanes(const ConvGeometry& geometry);

  int64_t row_stride(const ConvShape& shape) const { return x_.size(shape.out_w); }
  // Floats of one channel's planes; INT64_MAX if that is too small.
  int64_t channel_floats(const ConvShape& shape) const;
  // Where the inputs k = (channel, ky, kx) of output pixel (0, 0) are, in C order, from the first of so many channels
  // on; pixel (r, p) is at + r * row_stride + p. Written to scratch, which is moved on by offset_floats() at the most.
  const std::ptrdiff_t* write_offsets(const ConvShape& shape, int64_t channels, int64_t channel_stride,
                                      float*& scratch) const;
  int64_t offset_floats(int64_t channels) const {
    return (std::max<int64_t>(1, channels) * taps() + 1) * int64_t{sizeof(std::ptrdiff_t) / sizeof(float)};
  }
  int64_t taps() const { return y_.taps() * x_.taps(); }
  // One phase of a channel's planes: [rows][columns], what lies inside of the image, and the steps in the image.
  struct Phase {
    PhaseAxis::Inside y, x;
    int64_t rows, columns, stride_h, stride_w;
    bool covered() const { return y.count == rows && x.count == columns; }
  };
  // Runs body(phase) for every phase, in the order in which they lie.
  template <typename Body>
  void for_each_phase(const ConvShape& shape, const Body& body) const {
    const int64_t rows = y_.size(shape.out_h), columns = x_.size(shape.out_w);
    for (int64_t py = 0; py < y_.phases(); ++py) {
      const PhaseAxis::Inside y = y_.inside(py, shape.pad_top, shape.h, rows);
      for (int64_t px = 0; px < x_.phases(); ++px) {
        PhaseAxis::Inside x = x_.inside(px, shape.pad_left, shape.w, columns);
        if (y.count == 0) x.count = 0;
        body(Phase{y, x, rows, columns, y_.stride(), x_.stride()});
      }
    }
  }
  // Fills the planes of one channel from x[h][w].
  void fill(const ConvShape& shape, const float* x, float* planes, const Kernels& kernels) const;
  // Likewise where the padding is in place.
  void fill_inside(const ConvShape& shape, const float* x, float* planes, const Kernels& kernels) const;

 private:
  int64_t offset_of(const ConvShape& shape, int64_t ky, int64_t kx) const;

  PhaseAxis y_, x_;
};

}  // namespace opq
