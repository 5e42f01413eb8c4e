#include "runtime/quad_split.h"

#include <algorithm>
#include <iterator>
#include <numeric>

namespace opq {
namespace {

// 2 * 255 * most * quads fits into 16 bits. work: per quad, in multiplications, of which there are two where each quad
// goes to 32 bits. In a longer turn there is one, and its share of a turn's end, and the loads become a bound: as
// measured.
struct Turn {
  int quads, most;
  double work;
};
constexpr Turn kTurns[] = {{1, 64, 2.0}, {2, 31, 1.72}, {4, 15, 1.5}, {9, 7, 1.33}};
constexpr double kLargeWork = 3.0;  // has no neighbours to share its codes and pixels with

double quads_of(const WeightStatistics& statistics) {
  return static_cast<double>(std::accumulate(statistics.quads.begin(), statistics.quads.end(), int64_t{0}));
}

QuadSplit split_at(const WeightStatistics& statistics, const Turn& turn) {
  QuadSplit split{.turn = turn.quads, .most = turn.most, .large = 0, .work = 0};
  for (int code = turn.most + 1; code < static_cast<int>(statistics.quads.size()); ++code) {
    const int64_t needed = (code - turn.most + kMostLargeCode - 1) / kMostLargeCode;
    split.large += needed * statistics.quads[static_cast<std::size_t>(code)];
  }
  const double work = turn.work * quads_of(statistics) + kLargeWork * static_cast<double>(split.large);
  split.work = work / kTurns[0].work;
  return split;
}

}  // namespace

QuadSplit split_quads(const WeightStatistics& statistics, bool has_dot_products) {
  if (has_dot_products) return {.turn = 1, .most = 128, .large = 0, .work = quads_of(statistics)};
  QuadSplit splits[std::size(kTurns)];
  std::transform(std::begin(kTurns), std::end(kTurns), splits,
                 [&](const Turn& turn) { return split_at(statistics, turn); });
  return *std::min_element(std::begin(splits), std::end(splits),
                           [](const QuadSplit& a, const QuadSplit& b) { return a.work < b.work; });
}

}  // namespace opq
