// An adaptive binary range coder, for the parameters of a stream. Mirrors src/opq/reference/grouped/binary_coder.py.
//
// The interval [low, high] of 32 bits is split in proportion to the probability of a 1; leading bytes that both ends
// share move out. A probability starts at 1/2; the n-th bit moves it by 1 / (n + 1) of the way, and n stays at 128 from
// there on. Encoder and decoder have the same member `bit`, so that one function writes and reads.
#pragma once

#include <cstdint>
#include <vector>

#include "format/bytes.h"

namespace opq::grouped {

class Probability {
 public:
  uint32_t value() const { return static_cast<uint32_t>(value_); }  // P(bit = 1) in 1/65536

  void update(bool bit) {
    const int32_t target = bit ? 65504 : 32;
    // 65536 / (n + 2) < 2^15 + 1 and the distance is below 2^16: no overflow.
    value_ += (target - value_) * (65536 / (seen_ + 2)) >> 16;
    if (seen_ < 127) ++seen_;
  }

 private:
  int32_t value_ = 32768, seen_ = 0;
};

class BinaryEncoder {
 public:
  static constexpr bool kReads = false;

  bool bit(bool bit, Probability& probability) {
    const uint32_t middle = low_ + static_cast<uint32_t>(uint64_t{high_ - low_} * probability.value() >> 16);
    (bit ? high_ : low_) = bit ? middle : middle + 1;
    probability.update(bit);
    while (((low_ ^ high_) >> 24) == 0) {
      bytes_.push_back(static_cast<uint8_t>(high_ >> 24));
      low_ <<= 8;
      high_ = high_ << 8 | 0xFF;
    }
    return bit;
  }

  // The fewest bytes that, with zeros behind them, lie in the interval.
  std::vector<uint8_t> finish() {
    for (int size = 0; size <= 4; ++size) {
      const int keep = 32 - 8 * size;
      const uint64_t value = ((uint64_t{low_} + (uint64_t{1} << keep) - 1) >> keep) << keep;
      if (value > high_) continue;
      for (int i = 0; i < size; ++i) bytes_.push_back(static_cast<uint8_t>(value >> (24 - 8 * i)));
      break;
    }
    return std::move(bytes_);
  }

 private:
  uint32_t low_ = 0, high_ = 0xFFFFFFFF;
  std::vector<uint8_t> bytes_;
};

// Bytes behind the end are zeros.
class BinaryDecoder {
 public:
  static constexpr bool kReads = true;

  explicit BinaryDecoder(Bytes bytes) : bytes_(bytes) {
    for (int i = 0; i < 4; ++i) next();
  }

  bool bit(bool, Probability& probability) {
    const uint32_t middle = low_ + static_cast<uint32_t>(uint64_t{high_ - low_} * probability.value() >> 16);
    const bool bit = code_ <= middle;
    (bit ? high_ : low_) = bit ? middle : middle + 1;
    probability.update(bit);
    while (((low_ ^ high_) >> 24) == 0) {
      low_ <<= 8;
      high_ = high_ << 8 | 0xFF;
      next();
    }
    return bit;
  }

  bool has_read_all() const { return position_ >= bytes_.size(); }

 private:
  void next() {
    code_ = code_ << 8 | (position_ < bytes_.size() ? bytes_[position_] : 0);
    ++position_;
  }

  Bytes bytes_;
  std::size_t position_ = 0;
  uint32_t low_ = 0, high_ = 0xFFFFFFFF, code_ = 0;
};

}  // namespace opq::grouped
