// Bits to bytes, the first bit lowest.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace opq::grouped {

class BitWriter {
 public:
  // The lowest `bits` of value, 0 to 32; those above are 0.
  void put(uint32_t value, int bits) {
    open_ |= uint64_t{value} << (count_ % 8);
    int filled = static_cast<int>(count_ % 8) + bits;
    for (; filled >= 8; filled -= 8, open_ >>= 8) bytes_.push_back(static_cast<uint8_t>(open_));
    count_ += static_cast<uint64_t>(bits);
  }

  uint64_t count() const { return count_; }

  // The last byte is filled up with zeros.
  std::vector<uint8_t> finish() {
    if (count_ % 8 != 0) bytes_.push_back(static_cast<uint8_t>(open_));
    return std::move(bytes_);
  }

 private:
  std::vector<uint8_t> bytes_;
  uint64_t open_ = 0;  // the bits that fill no byte yet
  uint64_t count_ = 0;
};

}  // namespace opq::grouped
