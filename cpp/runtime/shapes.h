// Shape inference: from the shapes of the graph's inputs to the shape of every value.
#pragma once

#include <span>

#include "runtime/graph.h"

namespace opq {

// The number of elements. Throws Error(kInput) above 2^31 - 1, 8 GiB of float32.
int64_t element_count(const Shape& shape);

// The shape that a and b broadcast to by NumPy's rules; false if they do not fit.
bool broadcast_shapes(const Shape& a, const Shape& b, Shape& result);

// The shapes of all values, by number. `inputs` holds one shape per graph input; values that are never made get an
// empty one. Throws Error(kInput) naming the first node that does not fit.
std::vector<Shape> infer_shapes(const Graph& graph, const std::vector<Tensor>& tensors, std::span<const Shape> inputs);

}  // namespace opq
