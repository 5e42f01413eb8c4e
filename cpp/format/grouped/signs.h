// Signs of a kernel's codes, each beside the sign of its nearest earlier neighbour that is not zero. Mirrors
// src/opq/reference/grouped/signs.py.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "format/grouped/tables.h"

namespace opq::grouped {

inline constexpr int kNeighbourClasses = 6;

struct Reference {
  uint8_t place;       // in the group; the group's size where there is no earlier neighbour
  uint8_t neighbours;  // class: 0 without one; the squared distance 1, 2, 4, 5, 8 in 3 x 3; else the distance 1..5
};

// [mask][place], for the places whose bit is set.
using References = std::vector<std::array<Reference, kMaxGroup>>;
const References& references(int group);

}  // namespace opq::grouped
