#include "runtime/linear_layer_packed.h"

namespace opq {

std::unique_ptr<LinearLayer> LinearLayer::pack(const Weights& weights, KernelKind kind) {
  return kind == KernelKind::kSparse ? pack_sparse_linear(weights) : pack_dense_linear(weights);
}

int64_t LinearLayer::most_bytes(const Weights& weights, KernelKind kind) {
  return kind == KernelKind::kSparse ? most_sparse_linear_bytes(weights) : most_dense_linear_bytes(weights);
}

}  // namespace opq
