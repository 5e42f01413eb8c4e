// The number of nonzeros of a group in row i and column j is modelled with the density 1 / (1 + exp(-(base + r_i +
// c_j))). The likelihood of a row's scale depends on the row's sum of nonzeros alone, and that of a column's on the
// column's sum: so scales are found from the sums, rows and columns in turn, each with its price in bits.
#pragma once

#include <cstdint>
#include <vector>

namespace opq::grouped {

// The scale of every row given those of the columns, or the reverse; moves the base so that their median is 0.
//
// -log2 P(row) = sum over columns of trials * zero_cost(bucket) - sum * (gain of a nonzero in that bucket), the last
// term linear in the scale: but for the buckets at the ends, which scales that lead beyond them are kept out of.
std::vector<int8_t> scales_along(const std::vector<uint64_t>& sums, const std::vector<int8_t>& across,
                                 const std::vector<int8_t>& before, int& base, int unit, int trials, int price);

}  // namespace opq::grouped
