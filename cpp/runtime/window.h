// How the window of a convolution or a pooling moves along the spatial axes. 1-D is 2-D with height 1.
#pragma once

#include <span>

#include "runtime/graph.h"

namespace opq {

// Output position o looks at the input positions o * stride - pad_begin + t * dilation for t in [0, kernel).
struct Window {
  int64_t in = 1, out = 1;
  int64_t kernel = 1, stride = 1, dilation = 1;
  int64_t pad_begin = 0, pad_end = 0;

  int64_t extent() const { return (kernel - 1) * dilation + 1; }
};

struct Windows {
  Window h, w;
};

// `x` is [N, C, spatial], `kernel` one size per spatial axis. Throws Error(kInput) where the window does not fit the
// input.
Windows make_windows(const Node& node, const Shape& x, std::span<const int64_t> kernel);

}  // namespace opq
