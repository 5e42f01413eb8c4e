#include "runtime/quad_split.h"

#include <algorithm>
#include <iterator>

#include "kernels/kernels.h"

namespace opq {
namespace {

constexpr int kMostTurnSum = 128;  // 255 * 128 <= 32767
constexpr int kBlockQuads = kQuadDepth / 4;

// By turns of 1, 2, 4, ... quads: what a quad takes, in multiplications, of which there are two where each quad goes to
// 32 bits. In a longer turn there is one, and its share of a turn's end, and the loads become a bound: as measured.
constexpr double kWork[] = {2.0, 1.63, 1.47, 1.34, 1.29, 1.27, 1.25};
constexpr double kLargeWork = 3.0;  // has no neighbours to share its codes and pixels with

static_assert(1 << (LargeQuadCounter::kLengths - 1) == kBlockQuads && std::size(kWork) == LargeQuadCounter::kLengths);

// After so many quads, a length of turns that takes so much longer than a shorter one is given up, and so are longer
// ones. To count them would take most of the time, for what the other rows hardly change.
constexpr int64_t kQuadsToKnow = 1024;
constexpr double kSurelyLonger = 1.05;

// Cuts `excess` off the codes of this sign among k = first, first + 1, first + 4, first + 5, ...: always off the
// largest one, as much as a LargeQuad may have of it.
void cut_largest(const int8_t* codes, int count, int first, int sign, int excess, int8_t* rest) {
  int places[kQuadDepth / 2];
  int* end = places;
  for (int k = first; k < count; k += k % 2 == 0 ? 1 : 3) {
    if (sign * codes[k] > 0) *end++ = k;
  }
  const auto left = [=](int k) { return sign * (codes[k] - rest[k]); };
  const auto is_smaller = [=](int a, int b) { return left(a) != left(b) ? left(a) < left(b) : a > b; };
  std::make_heap(places, end, is_smaller);
  while (excess > 0) {
    std::pop_heap(places, end, is_smaller);
    const int k = end[-1], cut = std::min({left(k), excess, kMostLargeCode});
    rest[k] = static_cast<int8_t>(rest[k] + sign * cut);
    excess -= cut;
    std::push_heap(places, end, is_smaller);
  }
}

// The work of turns of 2^i quads.
double work_of(std::size_t i, int64_t quads, int64_t large) {
  return (kWork[i] * static_cast<double>(quads) + kLargeWork * static_cast<double>(large)) / kWork[0];
}

}  // namespace

QuadSplit split_quads(const WeightStatistics& statistics, bool has_dot_products) {
  if (has_dot_products) {
    return {.turn = 1, .cuts = false, .large = 0, .work = static_cast<double>(statistics.quads)};
  }
  QuadSplit best{.turn = 1, .cuts = true, .large = 0, .work = work_of(0, statistics.quads, 0)};
  for (std::size_t i = 0; i < statistics.large_quads.size(); ++i) {
    const int64_t large = statistics.large_quads[i];
    const double work = work_of(i, statistics.quads, large);
    if (i == 0 || work < best.work) best = {.turn = 1 << i, .cuts = true, .large = large, .work = work};
  }
  return best;
}

int cut_turn(const int8_t* codes, int count, int8_t* rest) {
  std::fill_n(rest, count, int8_t{0});
  int positive[4] = {}, negative[4] = {};  // sums of the codes of either sign, by k % 4
  const auto add = [&](int k, int j) {
    positive[j] += std::max<int>(codes[k + j], 0);
    negative[j] += std::max<int>(-codes[k + j], 0);
  };
  int k = 0;
  for (; k + 4 <= count; k += 4) {
    for (int j = 0; j < 4; ++j) add(k, j);
  }
  for (int j = 0; k + j < count; ++j) add(k, j);
  bool is_cut = false;
  for (int first = 0; first < 4; first += 2) {
    for (const int sign : {1, -1}) {
      const int* sums = sign == 1 ? positive : negative;
      const int excess = sums[first] + sums[first + 1] - kMostTurnSum;
      if (excess <= 0) continue;
      cut_largest(codes, count, first, sign, excess, rest);
      is_cut = true;
    }
  }
  int large = 0;
  for (k = 0; is_cut && k < count; k += 4) {
    int most = 0;
    for (int j = k; j < std::min(k + 4, count); ++j) most = std::max(most, std::abs(rest[j]));
    large += (most + kMostLargeCode - 1) / kMostLargeCode;
  }
  return large;
}

void LargeQuadCounter::add_row(const int8_t* codes, int64_t depth) {
  for (int64_t k = 0; k < depth; k += kQuadDepth) {
    add_block(codes + k, static_cast<int>(std::min<int64_t>(kQuadDepth, depth - k)));
  }
  if (quads_ < kQuadsToKnow) return;
  for (std::size_t i = 1; i < lengths_; ++i) {
    if (work_of(i, quads_, large_[i]) > kSurelyLonger * work_of(i - 1, quads_, large_[i - 1])) lengths_ = i;
  }
}

void LargeQuadCounter::add_block(const int8_t* codes, int count) {
  int8_t padded[kQuadDepth] = {};
  std::copy_n(codes, count, padded);
  int turns = (count + 3) / 4;
  quads_ += turns;
  // Of a turn: the sums of its positive codes, of codes 0 and 1 and of 2 and 3, and of its negative ones.
  uint16_t sums[kBlockQuads + 1][4] = {};
  for (int quad = 0; quad < turns; ++quad) {
    for (int pair = 0; pair < 2; ++pair) {
      const int a = padded[4 * quad + 2 * pair], b = padded[4 * quad + 2 * pair + 1];
      sums[quad][pair] = static_cast<uint16_t>(std::max(a, 0) + std::max(b, 0));
      sums[quad][pair + 2] = static_cast<uint16_t>(std::max(-a, 0) + std::max(-b, 0));
    }
  }
  for (std::size_t i = 0; i < lengths_; ++i) {
    uint16_t largest = 0;
    for (int turn = 0; turn < turns; ++turn) {
      for (const uint16_t sum : sums[turn]) largest = std::max(largest, sum);
    }
    for (int turn = 0; turn < turns && largest > kMostTurnSum; ++turn) {
      if (*std::max_element(sums[turn], sums[turn] + 4) <= kMostTurnSum) continue;
      const int length = 4 << i, begin = turn * length;
      int8_t rest[kQuadDepth];
      large_[i] += cut_turn(codes + begin, std::min(length, count - begin), rest);
    }
    // Two turns become one of twice the length.
    std::fill_n(sums[turns], 4, uint16_t{0});
    turns = (turns + 1) / 2;
    for (int turn = 0; turn < turns; ++turn) {
      for (int j = 0; j < 4; ++j) sums[turn][j] = static_cast<uint16_t>(sums[2 * turn][j] + sums[2 * turn + 1][j]);
    }
  }
}

}  // namespace opq
