#include "format/grouped/fit_scales.h"

#include <algorithm>
#include <array>
#include <map>

#include "format/grouped/fit_costs.h"
#include "format/grouped/parameters.h"

namespace opq::grouped {
namespace {

constexpr int64_t kLogit = 11818;  // what a nonzero is cheaper by in the next bucket: log2(e) / 8
constexpr int kScales = 2 * kLargestScale + 1;

}  // namespace

std::vector<int8_t> scales_along(const std::vector<uint64_t>& sums, const std::vector<int8_t>& across,
                                 const std::vector<int8_t>& before, int& base, int unit, int trials, int price) {
  std::array<int64_t, kScales> numbers{};
  for (const int8_t scale : across) ++numbers[scale + kLargestScale];
  const auto bits = prices<kScales>(before, -kLargestScale);
  std::vector<int> candidates;
  std::vector<int64_t> fixed;  // by candidate: all but the linear term
  for (int scale = -kLargestScale; scale <= kLargestScale; ++scale) {
    if (base + unit * scale < 0 || base + unit * scale >= kBuckets) continue;
    int64_t empty = 0;
    for (int other = -kLargestScale; other <= kLargestScale; ++other) {
      const int bucket = std::clamp(base + unit * (scale + other), 0, kBuckets - 1);
      empty += numbers[other + kLargestScale] * cost(static_cast<uint32_t>(65536 - densities()[bucket]), 16);
    }
    candidates.push_back(scale);
    fixed.push_back(empty * trials + price * bits[scale + kLargestScale]);
  }
  std::map<uint64_t, int> best;  // by sum
  std::vector<int8_t> result(sums.size());
  std::array<std::size_t, kScales> histogram{};
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const auto [found, is_new] = best.try_emplace(sums[i]);
    if (is_new) {
      const int64_t sum = static_cast<int64_t>(sums[i]);
      found->second = candidates[argmin(static_cast<int>(candidates.size()),
                                        [&](int c) { return fixed[c] - sum * (kLogit * unit) * candidates[c]; })];
    }
    result[i] = static_cast<int8_t>(found->second);
    ++histogram[found->second + kLargestScale];
  }
  int middle = -kLargestScale;
  for (std::size_t below = 0; (below += histogram[middle + kLargestScale]) <= (sums.size() - 1) / 2;) ++middle;
  base = std::clamp(base + unit * middle, 0, kBuckets - 1);
  for (int8_t& scale : result) scale = static_cast<int8_t>(std::clamp(scale - middle, -kLargestScale, kLargestScale));
  return result;
}

}  // namespace opq::grouped
