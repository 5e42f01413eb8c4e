// The kinds of integer layers; IntegerLayer::pack chooses.
#pragma once

#include "runtime/integer_layer.h"

namespace opq {

std::unique_ptr<IntegerLayer> pack_integer_conv(const Weights& weights, const ConvGeometry& geometry,
                                                Precision precision);
// weights.depth == kernel_h * kernel_w: every output channel reads one input channel.
std::unique_ptr<IntegerLayer> pack_integer_depthwise(const Weights& weights, const ConvGeometry& geometry,
                                                     Precision precision);
// Likewise, in 8 bits, where has_integer_windows.
bool has_integer_windows(const ConvGeometry& geometry);
std::unique_ptr<IntegerLayer> pack_integer_windows(const Weights& weights, const ConvGeometry& geometry);
std::unique_ptr<IntegerLayer> pack_integer_linear(const Weights& weights, Precision precision);

int64_t most_integer_conv_bytes(const Weights& weights, const ConvGeometry& geometry);
int64_t most_integer_depthwise_bytes(const Weights& weights);
int64_t most_integer_window_bytes(const Weights& weights);
int64_t most_integer_linear_bytes(const Weights& weights);

}  // namespace opq
