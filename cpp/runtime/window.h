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

  // The taps t of output position o that look at [begin, end): first <= t < last.
  struct Taps {
    int64_t first, last;
    int64_t count() const { return last > first ? last - first : 0; }
  };
  Taps taps_within(int64_t o, int64_t begin, int64_t end) const;
};

struct Windows {
  Window h, w;
};

// `x` is [N, C, spatial], `kernel` one size per spatial axis. Throws Error(kInput) where the window does not fit the
// input.
Windows make_windows(const Node& node, const Shape& x, std::span<const int64_t> kernel);

// Throws Error(kUnsupported) where x [N, C, spatial] with its padding is far larger than x and the result y together:
// the steps hold it in memory.
void check_padded_size(const Node& node, const Windows& windows, const Shape& x, const Shape& y);

// The windows of a pooling from x to y, checked so. Throws Error(kUnsupported) where one has more than 2^24 taps as
// well: their number is exact as a float, and fits an int.
Windows pool_windows(const Node& node, const Shape& x, const Shape& y);

}  // namespace opq
