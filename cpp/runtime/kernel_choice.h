// Which kernel multiplies a layer: a model of the time that each would take, of which the least is taken, and the
// caller's word where there is one. The choice never depends on threads; in 8 bits, where every kernel gives the same
// result, it depends on whether the instruction set has dot products.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/grid.h"
#include "runtime/layers.h"

namespace opq {

const char* name_of(KernelKind kind);  // "sparse", "dense", "4-bit", "depthwise"
std::optional<KernelKind> kernel_kind(std::string_view name);

// The layers, by the names of their nodes, whose kernel the caller wants.
using KernelWishes = std::map<std::string, KernelKind>;

// What the model looks at.
struct LayerFacts {
  Precision precision = Precision::kFloat32;  // of the activations that the layer multiplies
  bool has_dot_products = false;              // of the kernels (kernels.h)
  bool is_linear = false, is_depthwise = false;
  bool has_codes = false;
  int64_t rows = 0, depth = 0;  // of the weights, as struct Weights has them
  int64_t nonzeros = 0;
  int largest_code = 0;  // the largest absolute one; 0 without codes
  double quad_work = 0;  // of dense products with 8 bits (quad_split.h)
  int64_t segments = 0;  // into which 16-bit sums of products with 8 bits cut the rows (code_pairs.h), about
};

// geometry: of a convolution, or null.
LayerFacts facts_of(const Weights& weights, const ConvGeometry* geometry, Precision precision,
                    bool has_dot_products = false);

// A kernel that can multiply a layer, and what one thread would take for one output pixel of it, counted in whole tiles
// (of a Linear layer: for one row of its input).
struct KernelOption {
  KernelKind kind;
  double nanoseconds;
};

// What can multiply the layer, at least one.
std::vector<KernelOption> kernel_options(const LayerFacts& facts);

// Output pixels that are computed together; 1 for a Linear layer.
int tile_of(const LayerFacts& facts);

// The one of least time.
KernelKind cheapest(const std::vector<KernelOption>& options);

}  // namespace opq
