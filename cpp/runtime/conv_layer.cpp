#include <algorithm>

#include "runtime/conv_layer_packed.h"

namespace opq {
namespace {

// Above this share of nonzeros the dense kernel is faster, although it multiplies the zeros as well.
constexpr double kDenseDensity = 0.75;

}  // namespace

std::unique_ptr<ConvLayer> ConvLayer::pack(const Weights& weights, const ConvGeometry& geometry) {
  if (geometry.group > 1 && weights.depth == geometry.kernel_h * geometry.kernel_w)
    return pack_depthwise_conv(weights, geometry);
  if (!weights.codes) return pack_dense_conv(weights, geometry);
  const int64_t n = weights.rows * weights.depth;
  const int64_t nonzeros = n - std::count(weights.codes, weights.codes + n, 0);
  return static_cast<double>(nonzeros) > kDenseDensity * static_cast<double>(n) ? pack_dense_conv(weights, geometry)
                                                                                : pack_sparse_conv(weights, geometry);
}

}  // namespace opq
