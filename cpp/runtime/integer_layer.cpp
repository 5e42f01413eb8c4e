#include "runtime/integer_layer.h"

#include <algorithm>

#include "runtime/integer_layer_packed.h"

namespace opq {
namespace {

int64_t code_sum_bytes(const Weights& weights) { return weights.rows * static_cast<int64_t>(sizeof(CodeSums)); }

}  // namespace

IntegerLayer::IntegerLayer(const Weights& weights)
    : nonzeros_(weights.statistics->nonzeros), code_sums_(weights.statistics->code_sums) {}

bool IntegerLayer::can_multiply(const Weights& weights) {
  const auto fits = [](const CodeSums& sums) {
    return 255 * (int64_t{sums.positive} + sums.negative) < int64_t{1} << 30;
  };
  const std::vector<CodeSums>& rows = weights.statistics->code_sums;
  return weights.has_codes() && std::all_of(rows.begin(), rows.end(), fits);
}

std::unique_ptr<IntegerLayer> IntegerLayer::pack(const Weights& weights, const ConvGeometry& geometry,
                                                 Precision precision, KernelKind kind, bool has_dot_products) {
  if (kind == KernelKind::kDepthwise) return pack_integer_depthwise(weights, geometry, precision);
  return pack_integer_conv(weights, geometry, precision, kind, has_dot_products);
}

std::unique_ptr<IntegerLayer> IntegerLayer::pack_linear(const Weights& weights, Precision precision, KernelKind kind) {
  return pack_integer_linear(weights, precision, kind);
}

int64_t IntegerLayer::most_bytes(const Weights& weights, const ConvGeometry& geometry, KernelKind kind,
                                 bool has_dot_products) {
  return code_sum_bytes(weights) + (kind == KernelKind::kDepthwise
                                        ? most_integer_depthwise_bytes(weights)
                                        : most_integer_conv_bytes(weights, geometry, kind, has_dot_products));
}

int64_t IntegerLayer::most_linear_bytes(const Weights& weights, KernelKind kind) {
  return code_sum_bytes(weights) + most_integer_linear_bytes(weights, kind);
}

}  // namespace opq
