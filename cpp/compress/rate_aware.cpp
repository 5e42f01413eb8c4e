#include "compress/rate_aware.h"

#include <cstdlib>
#include <string>

#include "compress/signs.h"
#include "format/error.h"

namespace opq::compress {
namespace {

constexpr double kAlways = 1048576.0;  // 2^20: a gain beyond all real ones
constexpr int kMagnitudes = 129;       // of int8 codes

// x = |w| / step -> the best level of a survivor, and what surviving gains: x^2 - (x - level)^2 of error, less the
// level's bits. No branches here and below: nobody could predict them. The first and the last loop are for vectors.
void choose_levels(const float* x, int64_t count, const Prices& prices, double* gains, int32_t* levels) {
  const float largest = static_cast<float>(prices.levels);
  for (int64_t i = 0; i < count; ++i) {
    const float clipped = x[i] < largest ? x[i] : largest;
    levels[i] = static_cast<int32_t>(clipped > 1.0f ? clipped : 1.0f);
  }
  for (int64_t i = 0; i < count; ++i) {
    levels[i] += x[i] >= prices.rises[levels[i]];
    gains[i] = prices.level[levels[i]];
  }
  for (int64_t i = 0; i < count; ++i) {
    const double at = x[i], level = levels[i];  // one width, so that comparisons select in vectors
    const double gain = level * (2.0 * at - level) - gains[i];
    const double unless_zero = at == 0.0 ? -kAlways : gain;
    gains[i] = at > 1.5 ? kAlways : unless_zero;
  }
}

// Sets the levels of a group to 0 but for the c that gain most, of equal ones the first, for the best c, of equal ones
// the least.
template <int kGroup>
void choose_survivors(const double* gains, const double* price, int32_t* levels) {
  int rank[kGroup];  // by gain; of equal ones the first is ahead
  for (int i = 0; i < kGroup; ++i) rank[i] = i;
  for (int i = 0; i < kGroup; ++i) {
    for (int j = i + 1; j < kGroup; ++j) {
      const int overtakes = gains[j] > gains[i];
      rank[i] += overtakes;
      rank[j] -= overtakes;
    }
  }
  double sorted[kGroup];
  for (int i = 0; i < kGroup; ++i) sorted[rank[i]] = gains[i];
  int survivors = 0;
  double total = 0.0, best = total - price[0];
  for (int c = 1; c <= kGroup; ++c) {
    total += sorted[c - 1];
    const double net = total - price[c];
    survivors = net > best ? c : survivors;
    best = net > best ? net : best;
  }
  for (int i = 0; i < kGroup; ++i) levels[i] &= -static_cast<int32_t>(rank[i] < survivors);
}

template <int kGroup>
void choose_all_survivors(const double* gains, int64_t count, const double* price, int32_t* levels) {
  for (int64_t i = 0; i < count; i += kGroup) choose_survivors<kGroup>(gains + i, price, levels + i);
}

// Where every code is a group. `price` may be infinite where no code is zero, or none is not.
template <>
void choose_all_survivors<1>(const double* gains, int64_t count, const double* price, int32_t* levels) {
  const double limit = price[1] - price[0];
  for (int64_t i = 0; i < count; ++i) levels[i] &= -static_cast<int32_t>(gains[i] > limit);
}

// By group size, for loops of a known length: [0] is for 1.
constexpr decltype(&choose_all_survivors<1>) kChoices[kLargestGroup] = {
    &choose_all_survivors<1>, &choose_all_survivors<2>, &choose_all_survivors<3>, &choose_all_survivors<4>,
    &choose_all_survivors<5>, &choose_all_survivors<6>, &choose_all_survivors<7>, &choose_all_survivors<8>,
    &choose_all_survivors<9>, &choose_all_survivors<10>};

}  // namespace

CodeCounts count_codes(ThreadPool& pool, const int8_t* codes, int64_t count, int group, int levels) {
  // Neighbours count in different tables: an increment need not wait for the one before.
  struct Counts {
    int64_t groups[kLargestGroup + 1] = {};
    int64_t magnitudes[2][kMagnitudes] = {};
  };
  std::vector<Counts> parts(pool.threads());
  parallel_ranges(pool, count / group, grain_of(group), [&](int64_t first, int64_t last, int thread) {
    Counts& own = parts[thread];
    for (int64_t g = first; g < last; ++g) {
      int nonzeros = 0;
      for (int i = 0; i < group; ++i) {
        const int magnitude = std::abs(static_cast<int>(codes[g * group + i]));
        nonzeros += magnitude != 0;
        ++own.magnitudes[(g + i) & 1][magnitude];
      }
      ++own.groups[nonzeros];
    }
  });
  CodeCounts result;
  result.groups.resize(group + 1);
  std::vector<int64_t> magnitudes(kMagnitudes);
  for (const Counts& part : parts) {
    for (int c = 0; c <= group; ++c) result.groups[c] += part.groups[c];
    for (int k = 0; k < kMagnitudes; ++k) magnitudes[k] += part.magnitudes[0][k] + part.magnitudes[1][k];
  }
  for (int k = levels + 1; k < kMagnitudes; ++k) {
    if (magnitudes[k] == 0) continue;
    throw Error(ErrorCode::kInput,
                "a code has magnitude " + std::to_string(k) + ", more than " + std::to_string(levels));
  }
  magnitudes.resize(levels + 1);
  result.magnitudes = std::move(magnitudes);
  return result;
}

void rate_aware_codes(ThreadPool& pool, const Magnitudes& m, float step, const Prices& prices, int8_t* codes) {
  const auto choose_all = kChoices[prices.group - 1];
  const int64_t size = kBlock / prices.group * prices.group;
  for_each_block(pool, m, size, [&](int64_t, int64_t begin, int64_t count, float* x, int) {
    double gains[kBlock];
    int32_t levels[kBlock];
    for (int64_t i = 0; i < count; ++i) x[i] /= step;
    choose_levels(x, count, prices, gains, levels);
    choose_all(gains, count, prices.count, levels);
    with_signs(levels, m.weights + begin, count, codes + begin);
  });
}

}  // namespace opq::compress
