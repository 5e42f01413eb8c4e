// The kinds of integer layers; IntegerLayer::pack chooses.
#pragma once

#include "runtime/integer_layer.h"

namespace opq {

// What half bytes hold, and columns of them whose sums fit into 32 bits: 15 * 255 * 2^19 < 2^31.
inline constexpr int kMostNibbleCode = 7;
inline constexpr int64_t kMostNibbleDepth = int64_t{1} << 19;

std::unique_ptr<IntegerLayer> pack_integer_conv(const Weights& weights, const ConvGeometry& geometry,
                                                Precision precision, KernelKind kind, bool has_dot_products);
// weights.depth == kernel_h * kernel_w: every output channel reads one input channel.
std::unique_ptr<IntegerLayer> pack_integer_depthwise(const Weights& weights, const ConvGeometry& geometry,
                                                     Precision precision);
// Likewise, in 8 bits, where has_integer_windows.
bool has_integer_windows(const ConvGeometry& geometry);
std::unique_ptr<IntegerLayer> pack_integer_windows(const Weights& weights, const ConvGeometry& geometry);
std::unique_ptr<IntegerLayer> pack_integer_linear(const Weights& weights, Precision precision, KernelKind kind);

int64_t most_integer_conv_bytes(const Weights& weights, const ConvGeometry& geometry, KernelKind kind,
                                bool has_dot_products);
int64_t most_integer_depthwise_bytes(const Weights& weights);
int64_t most_integer_window_bytes(const Weights& weights);
int64_t most_integer_linear_bytes(const Weights& weights, KernelKind kind);

}  // namespace opq
