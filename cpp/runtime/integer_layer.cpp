#include "runtime/integer_layer.h"

#include <cstdlib>

#include "runtime/integer_layer_packed.h"

namespace opq {
namespace {

CodeSums sums_of(const int8_t* codes, int64_t depth) {
  CodeSums sums;
  for (int64_t k = 0; k < depth; ++k) (codes[k] > 0 ? sums.positive : sums.negative) += std::abs(int{codes[k]});
  return sums;
}

int64_t code_sum_bytes(const Weights& weights) { return weights.rows * static_cast<int64_t>(sizeof(CodeSums)); }

}  // namespace

IntegerLayer::IntegerLayer(const Weights& weights) {
  code_sums_.reserve(static_cast<std::size_t>(weights.rows));
  for (int64_t m = 0; m < weights.rows; ++m) {
    code_sums_.push_back(sums_of(weights.codes + m * weights.depth, weights.depth));
  }
}

bool IntegerLayer::can_multiply(const Weights& weights) {
  if (!weights.codes) return false;
  for (int64_t m = 0; m < weights.rows; ++m) {
    const CodeSums sums = sums_of(weights.codes + m * weights.depth, weights.depth);
    if (255 * (sums.positive + sums.negative) >= int64_t{1} << 30) return false;
  }
  return true;
}

std::unique_ptr<IntegerLayer> IntegerLayer::pack(const Weights& weights, const ConvGeometry& geometry,
                                                 Precision precision, KernelKind kind) {
  if (kind == KernelKind::kDepthwise) return pack_integer_depthwise(weights, geometry, precision);
  return pack_integer_conv(weights, geometry, precision, kind);
}

std::unique_ptr<IntegerLayer> IntegerLayer::pack_linear(const Weights& weights, Precision precision, KernelKind kind) {
  return pack_integer_linear(weights, precision, kind);
}

int64_t IntegerLayer::most_bytes(const Weights& weights, const ConvGeometry& geometry, KernelKind kind) {
  return code_sum_bytes(weights) + (kind == KernelKind::kDepthwise ? most_integer_depthwise_bytes(weights)
                                                                   : most_integer_conv_bytes(weights, geometry, kind));
}

int64_t IntegerLayer::most_linear_bytes(const Weights& weights, KernelKind kind) {
  return code_sum_bytes(weights) + most_integer_linear_bytes(weights, kind);
}

}  // namespace opq
