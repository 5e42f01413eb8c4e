// The rule that makes bytes of a layer's sums: see docs/integers.md and src/opq/reference/integer/fixed_point.py.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/grid.h"
#include "runtime/weights.h"

namespace opq {

// scale and bias by channel, or empty: 1 and 0; residual: the grid of what is added, or null.
std::vector<ByteRule> requantization(std::span<const CodeSums> codes, std::span<const float> scale,
                                     std::span<const float> bias, const Grid& x, const Grid& y, const Grid* residual);

// One output of the rule. sum: of code * q; residual: r - its zero, or 0.
int requantize(int64_t sum, const ByteRule& rule, int residual, int least, int most);

}  // namespace opq
