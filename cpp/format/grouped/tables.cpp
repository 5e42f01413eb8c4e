#include "format/grouped/tables.h"

#include <algorithm>
#include <bit>
#include <memory>

namespace opq::grouped {
namespace {

// round(65536 / (1 + exp((64 - b) / 8))) for b = 0..64. The numbers are the definition, not the formula.
constexpr std::array<int32_t, 65> kLowerDensities = {
    22,    25,    28,    32,    36,    41,    47,    53,    60,    68,    77,    87,    98,    111,  126,  143,  162,
    184,   208,   236,   267,   302,   342,   387,   439,   497,   562,   636,   720,   815,   922,  1042, 1179, 1333,
    1506,  1701,  1921,  2168,  2446,  2758,  3108,  3500,  3938,  4427,  4971,  5577,  6249,  6992, 7812, 8714, 9702,
    10782, 11955, 13226, 14595, 16062, 17625, 19282, 21025, 22849, 24743, 26695, 28693, 30723, 32768};

// alpha + beta of the beta-binomial distribution, times 4: from groups that are full or empty to independent codes.
constexpr std::array<int64_t, kDispersions> kConcentrations = {1, 2, 4, 8, 16, 32, 64, 16384};

// With alpha = density * concentration and beta = (1 - density) * concentration,
//   P(c + 1) / P(c) = (group - c) / (c + 1) * (alpha + c) / (beta + group - c - 1).
// Weights stay below 2^29: when one reaches it, that one and all before it are halved.
void make_counts(int group, int64_t concentration, int64_t density, uint16_t* frequencies) {
  const int64_t alpha = density * concentration, beta = (65536 - density) * concentration;  // in units of 2^-18
  int64_t weights[kMaxGroup + 1] = {int64_t{1} << 28};
  for (int c = 0; c < group; ++c) {
    const int64_t numerator = (group - c) * (alpha + (int64_t{c} << 18));
    const int64_t denominator = (c + 1) * (beta + (int64_t{group - c - 1} << 18));
    weights[c + 1] = weights[c] * numerator / denominator;
    while (weights[c + 1] >= int64_t{1} << 29) {
      for (int i = 0; i <= c + 1; ++i) weights[i] >>= 1;
    }
  }
  int64_t total = 0;
  for (int c = 0; c <= group; ++c) total += weights[c];
  int sum = 0;
  for (int c = 0; c <= group; ++c) {
    frequencies[c] = static_cast<uint16_t>(1 + weights[c] * (kScale - group - 1) / total);
    sum += frequencies[c];
  }
  *std::max_element(frequencies, frequencies + group + 1) += static_cast<uint16_t>(kScale - sum);
}

}  // namespace

const std::array<int32_t, kBuckets>& densities() {
  static const auto table = [] {
    std::array<int32_t, kBuckets> result;
    for (int b = 0; b < kBuckets; ++b) result[b] = b <= 64 ? kLowerDensities[b] : 65536 - kLowerDensities[128 - b];
    return result;
  }();
  return table;
}

const CountFrequencies& count_frequencies(int group, int dispersion) {
  using Tables = std::array<std::array<CountFrequencies, kDispersions>, kMaxGroup + 1>;
  static const auto tables = [] {
    auto result = std::make_unique<Tables>();
    for (int g = kMinKernel; g <= kMaxGroup; ++g) {
      for (int d = 0; d < kDispersions; ++d) {
        for (int b = 0; b < kBuckets; ++b) {
          make_counts(g, kConcentrations[d], densities()[b], (*result)[g][d][b].data());
        }
      }
    }
    return result;
  }();
  return (*tables)[group][dispersion];
}

void token_frequencies(std::span<const uint8_t> hazards, uint16_t* frequencies) {
  int32_t spare = kScale - static_cast<int32_t>(hazards.size()) - 1;  // beyond the 1 that every token has
  for (const uint8_t hazard : hazards) {
    const int32_t share = spare * (2 * hazard + 1) >> 9;
    *frequencies++ = static_cast<uint16_t>(1 + share);
    spare -= share;
  }
  *frequencies = static_cast<uint16_t>(1 + spare);
}

const std::vector<uint16_t>& masks(int group, int count) {
  using Tables = std::array<std::array<std::vector<uint16_t>, kMaxGroup + 1>, kMaxGroup + 1>;
  static const Tables tables = [] {
    Tables result;
    for (int g = kMinKernel; g <= kMaxGroup; ++g) {
      for (unsigned mask = 0; mask < 1u << g; ++mask) {
        result[g][std::popcount(mask)].push_back(static_cast<uint16_t>(mask));
      }
    }
    return result;
  }();
  return tables[group][count];
}

// Equal weights share the slots evenly; others get 1 slot each and their part of the rest.
void mask_starts(std::span<const int8_t> weights, uint16_t* starts) {
  const int64_t patterns = static_cast<int64_t>(weights.size());
  const bool equal = std::all_of(weights.begin(), weights.end(), [&](int8_t w) { return w == weights[0]; });
  int64_t total = 0, below = 0;
  for (const int8_t w : weights) total += kWeights[w + kLargestWeight];
  for (int64_t i = 0; i <= patterns; ++i) {
    starts[i] = static_cast<uint16_t>(equal ? i * kScale / patterns : i + below * (kScale - patterns) / total);
    if (i < patterns) below += kWeights[weights[i] + kLargestWeight];
  }
}

// Squaring the mantissa gives the bits of the logarithm one by one.
int32_t log2_cost(uint32_t x) {
  static const auto table = [] {
    std::vector<int32_t> result(65537);
    for (uint64_t value = 1; value < result.size(); ++value) {
      const int exponent = std::bit_width(value) - 1;
      uint64_t mantissa = value << (31 - exponent);
      int32_t log = exponent;
      for (int bit = 0; bit < 16; ++bit) {
        mantissa = mantissa * mantissa >> 31;
        const uint64_t carry = mantissa >> 32;
        mantissa >>= carry;
        log = log << 1 | static_cast<int32_t>(carry);
      }
      result[value] = log;
    }
    return result;
  }();
  return table[x];
}

}  // namespace opq::grouped
