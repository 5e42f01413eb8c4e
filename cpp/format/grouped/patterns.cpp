#include "format/grouped/patterns.h"

#include <bit>

#include "format/grouped/signs.h"

namespace opq::grouped {
namespace {

Pattern make_pattern(int group, unsigned mask) {
  Pattern result;
  for (unsigned left = mask; left != 0; left &= left - 1, ++result.count) {
    const int place = std::countr_zero(left);
    const Reference& near = references(group)[mask][place];
    result.places[result.count] = static_cast<uint8_t>(place);
    result.neighbours[result.count] = near.neighbours;
    if (near.place == group) continue;
    result.ranks[result.count] = static_cast<uint8_t>(std::popcount(mask & ((1u << near.place) - 1)));
  }
  return result;
}

Patterns make_patterns(int group) {
  Patterns result;
  for (int count = 0; count <= group; ++count) {
    result.first_of[count] = static_cast<uint16_t>(result.all.size());
    for (const uint16_t mask : masks(group, count)) result.all.push_back(make_pattern(group, mask));
  }
  return result;
}

}  // namespace

const Patterns& patterns(int group) {
  static const auto tables = [] {
    std::array<Patterns, kMaxGroup + 1> result;
    for (int g = kMinKernel; g <= kMaxGroup; ++g) result[g] = make_patterns(g);
    return result;
  }();
  return tables[group];
}

}  // namespace opq::grouped
