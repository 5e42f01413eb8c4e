// The two kinds of linear layers; LinearLayer::pack chooses.
#pragma once

#include <memory>

#include "runtime/layers.h"

namespace opq {

std::unique_ptr<LinearLayer> pack_dense_linear(const Weights& weights);
// Of codes.
std::unique_ptr<LinearLayer> pack_sparse_linear(const Weights& weights);

// Bytes that each of them allocates at the most.
int64_t most_dense_linear_bytes(const Weights& weights);
int64_t most_sparse_linear_bytes(const Weights& weights);

}  // namespace opq
