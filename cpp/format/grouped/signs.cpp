#include "format/grouped/signs.h"

#include <algorithm>
#include <cstdlib>

namespace opq::grouped {
namespace {

int neighbour_class(int group, int a, int b) {
  if (group != 9) return std::min(std::abs(a - b), 5);
  const int dy = a / 3 - b / 3, dx = a % 3 - b % 3;
  switch (dy * dy + dx * dx) {
    case 1:
      return 1;
    case 2:
      return 2;
    case 4:
      return 3;
    case 5:
      return 4;
    default:
      return 5;
  }
}

References make_references(int group) {
  References result(std::size_t{1} << group);
  for (unsigned mask = 0; mask < result.size(); ++mask) {
    for (int t = 0; t < group; ++t) {
      Reference best{static_cast<uint8_t>(group), 0};
      for (int u = 0; u < t; ++u) {
        if ((mask >> u & 1) == 0) continue;
        const int neighbours = neighbour_class(group, u, t);
        // Of several nearest places the first one counts.
        if (best.neighbours == 0 || neighbours < best.neighbours) {
          best = {static_cast<uint8_t>(u), static_cast<uint8_t>(neighbours)};
        }
      }
      result[mask][t] = best;
    }
  }
  return result;
}

}  // namespace

const References& references(int group) {
  static const auto tables = [] {
    std::array<References, kMaxGroup + 1> result;
    for (int g = kMinKernel; g <= kMaxGroup; ++g) result[g] = make_references(g);
    return result;
  }();
  return tables[group];
}

}  // namespace opq::grouped
