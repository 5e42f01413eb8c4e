#include "runtime/conv_layer_packed.h"

namespace opq {

std::unique_ptr<ConvLayer> ConvLayer::pack(const Weights& weights, const ConvGeometry& geometry, KernelKind kind) {
  if (kind == KernelKind::kDepthwise) return pack_depthwise_conv(weights, geometry);
  return kind == KernelKind::kSparse ? pack_sparse_conv(weights, geometry) : pack_dense_conv(weights, geometry);
}

int64_t ConvLayer::most_bytes(const Weights& weights, const ConvGeometry& geometry, KernelKind kind) {
  if (kind == KernelKind::kDepthwise) return most_depthwise_conv_bytes(weights);
  return kind == KernelKind::kSparse ? most_sparse_conv_bytes(weights, geometry)
                                     : most_dense_conv_bytes(weights, geometry);
}

}  // namespace opq
