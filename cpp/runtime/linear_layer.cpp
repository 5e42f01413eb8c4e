#include <algorithm>

#include "runtime/linear_layer_packed.h"

namespace opq {
namespace {

// Above this share of nonzeros a column of all codes is faster than a list of its nonzeros.
constexpr double kDenseDensity = 0.12;

}  // namespace

std::unique_ptr<LinearLayer> LinearLayer::pack(const Weights& weights) {
  if (!weights.codes) return pack_dense_linear(weights);
  const int64_t n = weights.rows * weights.depth;
  const int64_t nonzeros = n - std::count(weights.codes, weights.codes + n, 0);
  return static_cast<double>(nonzeros) > kDenseDensity * static_cast<double>(n) ? pack_dense_linear(weights)
                                                                                : pack_sparse_linear(weights);
}

int64_t LinearLayer::most_bytes(const Weights& weights) {
  const int64_t dense = most_dense_linear_bytes(weights);
  return weights.codes ? std::max(dense, most_sparse_linear_bytes(weights)) : dense;
}

}  // namespace opq
