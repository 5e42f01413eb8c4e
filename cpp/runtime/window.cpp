#include "runtime/window.h"

#include <algorithm>

#include "runtime/saturating_product.h"
#include "runtime/shapes.h"

namespace opq {
namespace {

constexpr int64_t kLargestSize = (int64_t{1} << 31) - 1;
// A padded input may have kPaddedPerElement elements for each one of x and y, and kPaddedAllowance more. Networks with
// far dilated kernels over small images need some ten for each.
constexpr int64_t kPaddedPerElement = 64, kPaddedAllowance = int64_t{1} << 24;

// Rounded up, for a > 0.
int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// auto_pad SAME: out = ceil(in / stride); the odd pixel of padding goes to the end (UPPER) or to the beginning (LOWER).
void pad_same(Window& window, bool upper) {
  window.out = (window.in + window.stride - 1) / window.stride;
  const int64_t total = std::max<int64_t>(0, (window.out - 1) * window.stride + window.extent() - window.in);
  window.pad_begin = upper ? total / 2 : total - total / 2;
  window.pad_end = total - window.pad_begin;
}

void pad_explicitly(Window& window, bool ceil_mode, const Node& node) {
  const int64_t room = window.in + window.pad_begin + window.pad_end - window.extent();
  const int64_t whole =
      room >= 0 ? room / window.stride : -((window.stride - 1 - room) / window.stride);  // rounded down
  window.out = whole + 1;
  // As in ONNX 19: a last window that would start in the padding at the end is dropped.
  if (ceil_mode && room % window.stride != 0 && window.out * window.stride < window.in + window.pad_begin) ++window.out;
  if (window.out < 1) {
    node.fail(ErrorCode::kInput, "a window of " + std::to_string(window.extent()) + " does not fit an input of " +
                                     std::to_string(window.in) + " with its padding");
  }
}

}  // namespace

Window::Taps Window::taps_within(int64_t o, int64_t begin, int64_t end) const {
  const int64_t start = o * stride - pad_begin;
  return {start >= begin ? 0 : divide_up(begin - start, dilation),
          start >= end ? 0 : std::min(kernel, divide_up(end - start, dilation))};
}

Windows make_windows(const Node& node, const Shape& x, std::span<const int64_t> kernel) {
  const std::size_t spatial = kernel.size();
  const std::string& auto_pad = node.text("auto_pad");
  const bool ceil_mode = node.attributes.contains("ceil_mode") && node.integer("ceil_mode") == 1;
  Windows windows;
  for (std::size_t axis = 0; axis < spatial; ++axis) {
    Window& window = axis + 1 == spatial ? windows.w : windows.h;
    window.in = x[2 + axis];
    window.kernel = kernel[axis];
    window.stride = node.integers("strides")[axis];
    window.dilation = node.integers("dilations")[axis];
    if (auto_pad == "NOTSET") {
      window.pad_begin = node.integers("pads")[axis];
      window.pad_end = node.integers("pads")[axis + spatial];
      pad_explicitly(window, ceil_mode, node);
    } else {
      pad_same(window, auto_pad == "SAME_UPPER");
    }
    if (window.in > kLargestSize || window.out > kLargestSize) {
      node.fail(ErrorCode::kInput, "its spatial size exceeds 2^31 - 1");
    }
  }
  return windows;
}

void check_padded_size(const Node& node, const Windows& windows, const Shape& x, const Shape& y) {
  // With ceil_mode the last window may reach beyond the padding.
  const auto padded = [](const Window& w) { return std::max(w.in + w.pad_begin + w.pad_end, w.extent()); };
  const int64_t elements = saturating_product({x[0], x[1], padded(windows.h), padded(windows.w)});
  if (elements > kPaddedAllowance + kPaddedPerElement * (element_count(x) + element_count(y))) {
    node.fail(ErrorCode::kUnsupported,
              "its padding makes " + std::to_string(elements) + " elements of an x of shape " + to_string(x));
  }
}

Windows pool_windows(const Node& node, const Shape& x, const Shape& y) {
  const Windows windows = make_windows(node, x, node.integers("kernel_shape"));
  check_padded_size(node, windows, x, y);
  if (saturating_product({windows.h.kernel, windows.w.kernel}) > 1 << 24) {
    node.fail(ErrorCode::kUnsupported, "its window has more than 2^24 elements");
  }
  return windows;
}

}  // namespace opq
