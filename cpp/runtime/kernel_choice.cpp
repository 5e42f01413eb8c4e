// The cost model. Times are of one core of an AMD EPYC (Zen 4, 3 GHz); what matters are their ratios, which the other
// instruction sets share well enough. `python benchmarks/kernel_choice.py` measures every kernel on the layers of a
// network beside what is written here.
#include "runtime/kernel_choice.h"

#include <algorithm>
#include <cstdlib>

#include "runtime/code_pairs.h"
#include "runtime/integer_layer_packed.h"
#include "runtime/quad_split.h"
#include "runtime/sparse_columns.h"

namespace opq {
namespace {

struct Name {
  KernelKind kind;
  const char* text;
};

constexpr Name kNames[] = {{KernelKind::kSparse, "sparse"},
                           {KernelKind::kDense, "dense"},
                           {KernelKind::kNibbles, "4-bit"},
                           {KernelKind::kDepthwise, "depthwise"}};

// Nanoseconds per output pixel, of tiles that are full:
//   sparse     nonzero * nonzeros + segment * segments + row * rows + input * depth
//   dense      weight * rows * depth + dense_row * rows + input * depth
//              in 8 bits, quad * (work of the quads, quad_split.h) instead of weight * rows * depth
//   depthwise  tap * rows * depth + row * rows
struct ConvCosts {
  double nonzero, segment, row;
  double weight, quad, dense_row;
  double input, tap;
};

constexpr ConvCosts conv_costs(const LayerFacts& facts) {
  switch (facts.precision) {
    case Precision::kFloat32:
      return {.nonzero = 0.0275,
              .segment = 0.0,
              .row = 0.19,
              .weight = 0.0215,
              .quad = 0.0,
              .dense_row = 0.22,
              .input = 0.05,
              .tap = 0.04};
    case Precision::kInt16:
      return {.nonzero = 0.0205,
              .segment = 0.0,
              .row = 0.34,
              .weight = 0.0,
              .quad = 0.0,
              .dense_row = 0.0,
              .input = 0.08,
              .tap = 0.06};
    default:
      return {.nonzero = 0.0100,
              .segment = 0.10,
              .row = 0.0,
              .weight = 0.0,
              .quad = facts.has_dot_products ? 0.0192 : 0.032,
              .dense_row = 0.18,
              .input = 0.08,
              .tap = 0.02};
  }
}

// Nanoseconds for one row of x, half of it zeros, as behind a Relu:
//   sparse  nonzero * nonzeros + column * depth * (blocks of rows, sparse_columns.h)
//   dense   line * depth * (blocks of 64 rows)
//   4-bit   line * depth * (blocks of 128 rows)
// A line is one of the cache, 64 bytes of codes. A column of nonzeros costs branches that cannot be foreseen, so that
// the weights hardly matter to it. Lines or nonzeros that are too many to stay in the cache from run to run are read
// from memory, as fast as the rest of the network leaves them: 2.5 to 6.6 a line, measured.
struct LinearCosts {
  double nonzero, distant_nonzero, column, line, distant_line;
};

constexpr LinearCosts kLinearCosts = {
    .nonzero = 0.33, .distant_nonzero = 0.40, .column = 2.0, .line = 2.0, .distant_line = 4.5};
constexpr double kCacheLines = 1 << 16;  // 4 MiB of a layer

constexpr int64_t kLineBytes = 64;

double blocks(int64_t rows, int64_t block) { return static_cast<double>((rows + block - 1) / block); }

std::vector<KernelOption> conv_options(const LayerFacts& f) {
  const ConvCosts costs = conv_costs(f);
  const auto rows = static_cast<double>(f.rows), depth = static_cast<double>(f.depth);
  if (f.is_depthwise) return {{KernelKind::kDepthwise, costs.tap * rows * depth + costs.row * rows}};
  std::vector<KernelOption> options;
  if (f.has_codes) {
    options.push_back({KernelKind::kSparse, costs.nonzero * static_cast<double>(f.nonzeros) +
                                                costs.segment * static_cast<double>(f.segments) + costs.row * rows +
                                                costs.input * depth});
  }
  if (f.precision != Precision::kInt16) {
    options.push_back({KernelKind::kDense, costs.weight * rows * depth + costs.quad * f.quad_work +
                                               costs.dense_row * rows + costs.input * depth});
  }
  return options;
}

std::vector<KernelOption> linear_options(const LayerFacts& f) {
  const auto depth = static_cast<double>(f.depth);
  const auto by_lines = [](KernelKind kind, double lines) -> KernelOption {
    return {kind, lines * (lines > kCacheLines ? kLinearCosts.distant_line : kLinearCosts.line)};
  };
  std::vector<KernelOption> options;
  if (f.has_codes && SparseColumns::can_hold(f.depth)) {
    const double columns = depth * blocks(f.rows, SparseColumns::rows_of_blocks(f.rows, f.largest_code)),
                 nonzeros = static_cast<double>(f.nonzeros);
    const bool is_distant = nonzeros * sizeof(uint16_t) > kCacheLines * kLineBytes;
    const double nonzero = is_distant ? kLinearCosts.distant_nonzero : kLinearCosts.nonzero;
    options.push_back({KernelKind::kSparse, nonzero * nonzeros + kLinearCosts.column * columns});
  }
  const double lines_of_column = f.has_codes ? 1.0 : sizeof(float);
  options.push_back(by_lines(KernelKind::kDense, lines_of_column * depth * blocks(f.rows, kLineBytes)));
  if (f.precision == Precision::kInt8 && f.largest_code <= kMostNibbleCode && f.depth < kMostNibbleDepth) {
    options.push_back(by_lines(KernelKind::kNibbles, depth * blocks(f.rows, 2 * kLineBytes)));
  }
  return options;
}

}  // namespace

const char* name_of(KernelKind kind) {
  return std::find_if(std::begin(kNames), std::end(kNames), [=](const Name& name) { return name.kind == kind; })->text;
}

std::optional<KernelKind> kernel_kind(std::string_view text) {
  for (const Name& name : kNames) {
    if (name.text == text) return name.kind;
  }
  return std::nullopt;
}

LayerFacts facts_of(const Weights& weights, const ConvGeometry* geometry, Precision precision, bool has_dot_products) {
  LayerFacts facts{.precision = precision,
                   .has_dot_products = has_dot_products,
                   .is_linear = geometry == nullptr,
                   .has_codes = weights.has_codes(),
                   .rows = weights.rows,
                   .depth = weights.depth,
                   .nonzeros = weights.statistics->nonzeros,
                   .largest_code = weights.statistics->largest_code};
  facts.is_depthwise = geometry && geometry->group > 1 && weights.depth == geometry->kernel_h * geometry->kernel_w &&
                       (precision == Precision::kFloat32 || weights.depth <= CodePairs::kMostDepth);
  if (precision == Precision::kInt8 && geometry)
    facts.quad_work = split_quads(*weights.statistics, has_dot_products).work;
  for (const CodeSums& row : weights.statistics->code_sums) {
    facts.segments += 1 + std::max(row.positive, row.negative) / CodePairs::kMostByteSum;
  }
  return facts;
}

std::vector<KernelOption> kernel_options(const LayerFacts& facts) {
  return facts.is_linear ? linear_options(facts) : conv_options(facts);
}

int tile_of(const LayerFacts& facts) {
  if (facts.is_linear) return 1;
  return facts.precision == Precision::kFloat32 ? kTile : kByteTile;
}

KernelKind cheapest(const std::vector<KernelOption>& options) {
  return std::min_element(options.begin(), options.end(),
                          [](const KernelOption& a, const KernelOption& b) { return a.nanoseconds < b.nanoseconds; })
      ->kind;
}

}  // namespace opq
