#include "format/grouped/fit_histogram.h"

#include <algorithm>
#include <optional>

namespace opq::grouped {
namespace {

// Adds a row's groups of kSize symbols, each group's bucket being that of its scale.
template <int kSize>
void count_groups(const uint8_t* symbols, const int32_t* group_scale, std::size_t groups, const Parameters& p,
                  int row_scale, Histogram& histogram) {
  for (std::size_t group = 0; group < groups; ++group, symbols += kSize) {
    int nonzeros = 0;
    for (int i = 0; i < kSize; ++i) nonzeros += symbols[i] != 0;
    int64_t* cells = histogram.at(p.bucket(row_scale, group_scale[group]), nonzeros);
    for (int i = 0; i < kSize; ++i) ++cells[symbols[i]];
    cells[0] -= kSize - nonzeros - 1;
  }
}

using CountGroups = void (*)(const uint8_t*, const int32_t*, std::size_t, const Parameters&, int, Histogram&);
constexpr CountGroups kCountGroups[] = {count_groups<4>, count_groups<5>, count_groups<6>, count_groups<7>,
                                        count_groups<8>, count_groups<9>, count_groups<10>};

}  // namespace

void Histogram::add(const Histogram& other) {
  for (std::size_t i = 0; i < cells_.size(); ++i) cells_[i] += other.cells_[i];
}

Histogram histogram_of(const std::vector<uint8_t>& symbols, int tokens, const Parameters& p, const Parallel& parallel) {
  const std::vector<uint32_t> places = p.places();
  const std::vector<int32_t> group_scale = p.group_scale(places);
  const std::pair<int, int> buckets = p.bucket_range(group_scale);
  const bool in_order = std::is_sorted(places.begin(), places.end());
  const CountGroups count = kCountGroups[p.group() - kMinKernel];
  struct Thread {
    Histogram histogram;
    std::vector<uint8_t> row;  // in the order of the groups, zeros beyond its end
  };
  std::vector<std::optional<Thread>> threads(static_cast<std::size_t>(parallel.threads));
  parallel.run(static_cast<int>(p.chunks()), [&](int chunk, int thread) {
    std::optional<Thread>& here = threads[thread];
    if (!here) here.emplace(Thread{Histogram(buckets, tokens), std::vector<uint8_t>(places.size())});
    const uint64_t begin = chunk * p.rows_per_chunk(), end = std::min(begin + p.rows_per_chunk(), p.rows());
    for (uint64_t row = begin; row < end; ++row) {
      const uint8_t* from = symbols.data() + row * p.row_length;
      if (!in_order) {
        for (uint32_t i = 0; i < p.row_length; ++i) here->row[i] = from[places[i]];
      } else {
        std::copy_n(from, p.row_length, here->row.begin());
      }
      const int scale = p.row_scale.empty() ? 0 : p.row_scale[row];
      count(here->row.data(), group_scale.data(), group_scale.size(), p, scale, here->histogram);
    }
  });
  Histogram result(buckets, tokens);
  for (const auto& thread : threads) {
    if (thread) result.add(thread->histogram);
  }
  return result;
}

}  // namespace opq::grouped
