// Probabilities of the grouped stream, built from small parameters in integers alone: every machine builds the same.
// Mirrors src/opq/reference/grouped/tables.py. Frequencies of one table sum to 4096; costs are in 1/65536 bit.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace opq::grouped {

inline constexpr int kScaleBits = 12;
inline constexpr int kScale = 1 << kScaleBits;
inline constexpr int kBuckets = 128;  // of density
inline constexpr int kMinKernel = 4, kMaxGroup = 10;
inline constexpr int kMaxPatterns = 252;  // of one count: 10 over 5
inline constexpr int kDispersions = 8;
inline constexpr int kDirectTokens = 32, kMaxTokens = 240;
inline constexpr int kLargestWeight = 12;

// Share of nonzeros of each bucket, in 1/65536.
const std::array<int32_t, kBuckets>& densities();

// [bucket][count]: how often a group has `count` nonzeros, beta-binomial.
using CountFrequencies = std::array<std::array<uint16_t, kMaxGroup + 1>, kBuckets>;
const CountFrequencies& count_frequencies(int group, int dispersion);

// Of tokens 0..hazards.size(): token s takes the share (2 h[s] + 1) / 512 of what is left.
void token_frequencies(std::span<const uint8_t> hazards, uint16_t* frequencies);

// The masks of `group` bits with `count` of them set, in ascending order.
const std::vector<uint16_t>& masks(int group, int count);

// starts[patterns + 1] of the masks of one count, from their weights -12..12 in half powers of 2.
void mask_starts(std::span<const int8_t> weights, uint16_t* starts);

// round(64 * 2^(w / 2)) for w = -12..12.
inline constexpr std::array<int32_t, 2 * kLargestWeight + 1> kWeights = {
    1, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024, 1448, 2048, 2896, 4096};

// floor(65536 * log2(x)), 0 <= x <= 65536; 0 for x = 0.
int32_t log2_cost(uint32_t x);
inline int64_t cost(uint32_t frequency, int total_bits = kScaleBits) {
  return (int64_t{total_bits} << 16) - log2_cost(frequency);
}

}  // namespace opq::grouped
