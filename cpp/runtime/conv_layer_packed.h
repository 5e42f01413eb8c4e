// The three kinds of convolution layers; ConvLayer::pack chooses.
#pragma once

#include <memory>

#include "runtime/layers.h"

namespace opq {

std::unique_ptr<ConvLayer> pack_sparse_conv(const Weights& weights, const ConvGeometry& geometry);
std::unique_ptr<ConvLayer> pack_dense_conv(const Weights& weights, const ConvGeometry& geometry);
// weights.depth == kernel_h * kernel_w: every output channel reads one input channel.
std::unique_ptr<ConvLayer> pack_depthwise_conv(const Weights& weights, const ConvGeometry& geometry);

// Bytes that each of them allocates at the most.
int64_t most_sparse_conv_bytes(const Weights& weights, const ConvGeometry& geometry);
int64_t most_dense_conv_bytes(const Weights& weights, const ConvGeometry& geometry);
int64_t most_depthwise_conv_bytes(const Weights& weights);

}  // namespace opq
