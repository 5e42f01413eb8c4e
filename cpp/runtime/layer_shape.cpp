#include "runtime/layer_shape.h"

#include "runtime/shapes.h"
#include "runtime/window.h"

namespace opq {

ConvShape layer_shape(const StepSource& source) {
  const Node& node = source.node();
  const Shape &x = source.input_shape(0), &y = source.output_shape();
  const auto linear = [&](int64_t rows, int64_t outputs) {
    const int64_t depth = rows == 0 ? 0 : element_count(x) / rows;
    return ConvShape{
        .n = rows, .c = depth, .h = 1, .w = 1, .m = outputs, .out_h = 1, .out_w = 1, .pad_top = 0, .pad_left = 0};
  };
  if (node.op == Op::kLinear) return linear(y.back() == 0 ? 0 : element_count(y) / y.back(), y.back());
  const Windows windows = make_windows(node, x, std::span(source.input_shape(1)).subspan(2));
  if (source.network.weights(source.fused.node).is_linear) {
    // Packed as Linear because the declared shapes leave one output pixel, whatever the batch.
    if (windows.h.out != 1 || windows.w.out != 1 || windows.h.in != windows.h.kernel ||
        windows.w.in != windows.w.kernel) {
      node.fail(ErrorCode::kUnsupported, "its spatial size changes with the batch");
    }
    return linear(x[0], y[1]);
  }
  check_padded_size(node, windows, x, y);
  return {.n = x[0],
          .c = x[1],
          .h = windows.h.in,
          .w = windows.w.in,
          .m = y[1],
          .out_h = windows.h.out,
          .out_w = windows.w.out,
          .pad_top = windows.h.pad_begin,
          .pad_left = windows.w.pad_begin};
}

}  // namespace opq
