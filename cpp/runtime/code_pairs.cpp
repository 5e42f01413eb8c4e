#include "runtime/code_pairs.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace opq {
namespace {

constexpr int kMostPairs = 255;  // of a segment: its count is a byte
constexpr int64_t kMostStep = 255;

// The sums of the codes of either sign that a segment may have. With 16 bits of activations they are added in 32,
// (32767 + 32768) * 32767 < 2^31.
constexpr int most_sum(Precision precision) { return precision == Precision::kInt8 ? CodePairs::kMostByteSum : 32767; }

}  // namespace

// Nonzeros in ascending order, cut where a segment would be full.
void CodePairs::add_row(const int8_t* codes, int64_t depth) {
  begins_.push_back({static_cast<uint32_t>(counts_.size()), static_cast<uint32_t>(count())});
  const std::size_t segments_before = counts_.size();
  const int most = most_sum(precision_);
  int positive = most, negative = most;  // of the last segment; there is none yet: as if one were full
  int64_t alone = -1;                    // k of the last pair where that has one nonzero
  for (int64_t k = 0; k < depth; ++k) {
    const int code = codes[k];
    if (code == 0) continue;
    const auto makes_a_pair = [&] { return alone >= 0 && k - alone <= kMostStep; };
    if (positive + std::max(code, 0) > most || negative + std::max(-code, 0) > most ||
        (counts_.back() == kMostPairs && !makes_a_pair())) {
      counts_.push_back(0);
      positive = negative = 0;
      alone = -1;
    }
    positive += std::max(code, 0);
    negative += std::max(-code, 0);
    const auto byte = static_cast<uint8_t>(code);
    if (makes_a_pair()) {
      pairs_.end()[-2] = byte;
      pairs_.end()[-1] = static_cast<uint8_t>(k - alone);
      alone = -1;
    } else {
      const auto place = static_cast<uint16_t>(k * kPlaceUnit);
      uint8_t pair[kPairBytes] = {0, 0, byte, 0, 0};
      std::memcpy(pair, &place, sizeof place);
      pairs_.insert(pairs_.end(), std::begin(pair), std::end(pair));
      ++counts_.back();
      alone = k;
    }
  }
  segments_.push_back(static_cast<uint16_t>(counts_.size() - segments_before));
}

void CodePairs::finish() {
  segments_.shrink_to_fit();
  begins_.shrink_to_fit();
  counts_.shrink_to_fit();
  pairs_.shrink_to_fit();
}

PairBlock CodePairs::block(std::size_t row) const {
  const Begin begin = begins_[row];
  return {segments_.data() + row, counts_.data() + begin.segment, pairs_.data() + std::size_t{begin.pair} * kPairBytes};
}

int64_t CodePairs::most_bytes(int64_t rows, int64_t nonzeros) {
  // A nonzero takes at the most a segment's count, and a pair of its own where it stands alone.
  return rows * static_cast<int64_t>(sizeof(uint16_t) + sizeof(Begin)) + nonzeros * (1 + kPairBytes);
}

std::size_t CodePairs::bytes() const {
  return segments_.size() * sizeof(segments_[0]) + begins_.size() * sizeof(Begin) + counts_.size() + pairs_.size();
}

}  // namespace opq
