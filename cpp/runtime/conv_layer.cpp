#include <algorithm>

#include "runtime/conv_layer_packed.h"

namespace opq {
namespace {

// Above this share of nonzeros the dense kernel is faster, although it multiplies the zeros as well.
constexpr double kDenseDensity = 0.75;

bool is_depthwise(const Weights& weights, const ConvGeometry& geometry) {
  return geometry.group > 1 && weights.depth == geometry.kernel_h * geometry.kernel_w;
}

}  // namespace

std::unique_ptr<ConvLayer> ConvLayer::pack(const Weights& weights, const ConvGeometry& geometry) {
  if (is_depthwise(weights, geometry)) return pack_depthwise_conv(weights, geometry);
  if (!weights.codes) return pack_dense_conv(weights, geometry);
  const int64_t n = weights.rows * weights.depth;
  const int64_t nonzeros = n - std::count(weights.codes, weights.codes + n, 0);
  return static_cast<double>(nonzeros) > kDenseDensity * static_cast<double>(n) ? pack_dense_conv(weights, geometry)
                                                                                : pack_sparse_conv(weights, geometry);
}

int64_t ConvLayer::most_bytes(const Weights& weights, const ConvGeometry& geometry) {
  if (is_depthwise(weights, geometry)) return most_depthwise_conv_bytes(weights);
  const int64_t dense = most_dense_conv_bytes(weights, geometry);
  return weights.codes ? std::max(dense, most_sparse_conv_bytes(weights, geometry)) : dense;
}

}  // namespace opq
