// The masks of a group's nonzero codes, as the decoder needs them.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "format/grouped/tables.h"

namespace opq::grouped {

// A group writes so many bytes of an array by nonzero code, whatever its count: the next one overwrites the rest.
inline constexpr int kCopied = 16;

// By rank: the k-th bit that is set. One aligned half of a cache line each.
struct alignas(2 * kCopied) Pattern {
  std::array<uint8_t, kMaxGroup> neighbours{};  // class of the sign's reference, see signs.h
  std::array<uint8_t, kMaxGroup> places{};      // in the group
  std::array<uint8_t, kMaxGroup> ranks{};       // of the sign's reference; 0 where there is none
  uint8_t count = 0;                            // bits that are set
};
static_assert(sizeof(Pattern) == 2 * kCopied);

struct Patterns {
  std::vector<Pattern> all;                        // by count, then ascending masks
  std::array<uint16_t, kMaxGroup + 1> first_of{};  // by count: the index of its first one
};
const Patterns& patterns(int group);

}  // namespace opq::grouped
