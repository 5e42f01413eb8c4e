#include "runtime/code_pairs.h"

#include <algorithm>
#include <cstdlib>

namespace opq {
namespace {

constexpr int kMostPairs = 255;  // of a segment: its count is a byte

// The sums of the codes of either sign that a segment may have. With 16 bits of activations they are added in 32,
// (32767 + 32768) * 32767 < 2^31.
constexpr int most_sum(Precision precision) { return precision == Precision::kInt8 ? CodePairs::kMostByteSum : 32767; }

}  // namespace

// Nonzeros in ascending order, cut where a segment would be full.
int64_t CodePairs::add_row(const int8_t* codes, int64_t depth) {
  begins_.push_back({static_cast<uint32_t>(counts_.size()), static_cast<uint32_t>(codes_.size())});
  const std::size_t before = codes_.size();
  const int most = most_sum(precision_);
  int segments = 0, pairs = 0, positive = 0, negative = 0;
  bool half = false;  // the last pair has one nonzero
  for (int64_t k = 0; k < depth; ++k) {
    const int code = codes[k];
    if (code == 0) continue;
    const bool full =
        positive + std::max(code, 0) > most || negative + std::max(-code, 0) > most || (pairs == kMostPairs && !half);
    if (segments == 0 || full) {
      if (segments > 0) counts_.push_back(static_cast<uint8_t>(pairs));
      ++segments;
      pairs = positive = negative = 0;
      half = false;
    }
    positive += std::max(code, 0);
    negative += std::max(-code, 0);
    const auto byte = static_cast<uint8_t>(code);
    if (half) {
      places_.back() = static_cast<uint16_t>(k * kPlaceUnit);
      codes_.back() = static_cast<uint16_t>(codes_.back() | byte << 8);
    } else {
      places_.insert(places_.end(), {static_cast<uint16_t>(k * kPlaceUnit), static_cast<uint16_t>(k * kPlaceUnit)});
      codes_.push_back(byte);
      ++pairs;
    }
    half = !half;
  }
  if (segments > 0) counts_.push_back(static_cast<uint8_t>(pairs));
  segments_.push_back(static_cast<uint16_t>(segments));
  return static_cast<int64_t>(codes_.size() - before);
}

void CodePairs::finish() {
  segments_.shrink_to_fit();
  begins_.shrink_to_fit();
  counts_.shrink_to_fit();
  places_.shrink_to_fit();
  codes_.shrink_to_fit();
}

PairBlock CodePairs::block(std::size_t row) const {
  const Begin begin = begins_[row];
  return {segments_.data() + row, counts_.data() + begin.segment, places_.data() + 2 * std::size_t{begin.pair},
          codes_.data() + begin.pair};
}

int64_t CodePairs::most_bytes(int64_t rows, int64_t nonzeros) {
  // A nonzero takes at the most a segment's count, and a pair of its own where it stands alone.
  return rows * static_cast<int64_t>(sizeof(uint16_t) + sizeof(Begin)) + nonzeros * 7;
}

std::size_t CodePairs::bytes() const {
  return segments_.size() * sizeof(segments_[0]) + begins_.size() * sizeof(Begin) + counts_.size() +
         (places_.size() + codes_.size()) * sizeof(uint16_t);
}

}  // namespace opq
