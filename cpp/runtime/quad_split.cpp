#include "runtime/quad_split.h"

#include <algorithm>
#include <numeric>

namespace opq {
namespace {

// In multiplications, of which a quad in 32 bits has two. In turns it has one, and its share of a turn's end, and the
// loads become a bound: these are as measured. A large quad comes without neighbours that would share its codes and
// pixels.
constexpr double kQuadWork = 2.0, kTurnWork = 1.2, kLargeWork = 3.0;

// 2 * 255 * most * turn fits into 16 bits.
struct Turn {
  int quads, most;
};
constexpr Turn kTurns[] = {{1, 64}, {2, 31}, {4, 15}, {9, 7}};

double quads_of(const WeightStatistics& statistics) {
  return static_cast<double>(std::accumulate(statistics.quads.begin(), statistics.quads.end(), int64_t{0}));
}

QuadSplit split_at(const WeightStatistics& statistics, Turn turn) {
  QuadSplit split{.turn = turn.quads, .most = turn.most, .large = 0, .work = 0};
  for (int code = turn.most + 1; code < static_cast<int>(statistics.quads.size()); ++code) {
    const int64_t needed = (code - turn.most + kMostLargeCode - 1) / kMostLargeCode;
    split.large += needed * statistics.quads[static_cast<std::size_t>(code)];
  }
  const double dense = turn.quads == 1 ? kQuadWork : kTurnWork + kTurnWork / turn.quads;
  split.work = (dense * quads_of(statistics) + kLargeWork * static_cast<double>(split.large)) / kQuadWork;
  return split;
}

}  // namespace

QuadSplit split_quads(const WeightStatistics& statistics, bool has_dot_products) {
  if (has_dot_products) return {.turn = 1, .most = 128, .large = 0, .work = quads_of(statistics)};
  QuadSplit best = split_at(statistics, kTurns[0]);
  for (const Turn& turn : kTurns) {
    const QuadSplit split = split_at(statistics, turn);
    if (split.work < best.work) best = split;
  }
  return best;
}

}  // namespace opq
