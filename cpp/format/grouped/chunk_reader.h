// What a decoder reads a chunk of a grouped stream with: interleaved states and words, then raw bits.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>

#include "format/bytes.h"
#include "format/grouped/tables.h"

namespace opq::grouped {

inline constexpr uint32_t kLowest = 1 << 16;  // the lowest valid state
inline constexpr int kMaxLanes = 8;

[[noreturn]] inline void fail(const std::string& message) {
  throw Error(ErrorCode::kFormat, "grouped codes: " + message);
}

// The interleaved states of a chunk and its words.
class States {
 public:
  States(Bytes chunk, int lanes) : lanes_(lanes) {
    const std::size_t bytes = sizeof(uint32_t) * lanes;
    if (chunk.size() < bytes) fail("a chunk is shorter than its states");
    std::memcpy(states_, chunk.data(), bytes);
    for (int lane = 0; lane < lanes; ++lane) {
      if (states_[lane] < kLowest) fail("a state is below 2^16");
    }
    next_ = chunk.data() + bytes;
    end_ = chunk.data() + chunk.size();
  }

  // Decodes `count` symbols: advance(i, state) stores symbol i and returns the state behind it, before it takes a word.
  template <typename Advance>
  void pop(std::size_t count, const Advance& advance) {
    switch (lanes_) {
      case 8:
        return pop_lanes<8>(count, advance);
      case 4:
        return pop_lanes<4>(count, advance);
      case 2:
        return pop_lanes<2>(count, advance);
      default:
        return pop_lanes<1>(count, advance);
    }
  }

  // The 16 bits that each lane carried; checks the final states.
  void finish(uint16_t* passengers) const {
    for (int lane = 0; lane < lanes_; ++lane) {
      if (states_[lane] >> 16 != 1) fail("a chunk does not end in a state that it can have started from");
      passengers[lane] = static_cast<uint16_t>(states_[lane]);
    }
  }

  Bytes rest() const { return {next_, end_}; }

 private:
  template <int kLanes, typename Advance>
  void pop_lanes(std::size_t count, const Advance& advance) {
    uint32_t states[kLanes];
    std::copy_n(states_, kLanes, states);
    const uint8_t* const words = next_;
    const std::size_t available = static_cast<std::size_t>(end_ - next_) / 2;
    std::size_t i = 0, taken = 0;
    // While every lane could take a word, no read needs a check.
    for (; count - i >= kLanes && available - taken >= kLanes; i += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) {
        const uint32_t state = advance(i + lane, states[lane]);
        uint32_t longer = state << 16 | load<uint16_t>(words + 2 * taken);
        asm("" : "+r"(longer));  // computed in any case: as a branch, it would often be mispredicted
        uint32_t lowest = kLowest;
        asm("" : "+g"(lowest));  // one comparison for what follows: with a constant, GCC makes two
        const bool low = state < lowest;
        taken += low;
        states[lane] = low ? longer : state;
      }
    }
    const uint8_t* next = words + 2 * taken;
    for (int lane = 0; i < count; ++i, lane = (lane + 1) % kLanes) {
      uint32_t state = advance(i, states[lane]);
      if (state < kLowest) {
        if (end_ - next < 2) fail("a chunk ends too early");
        state = state << 16 | load<uint16_t>(next);
        next += 2;
      }
      states[lane] = state;
    }
    std::copy_n(states, kLanes, states_);
    next_ = next;
  }

  int lanes_;
  uint32_t states_[kMaxLanes];
  const uint8_t* next_;
  const uint8_t* end_;
};

// Bits that were not worth coding: the first 16 per lane rode in the states, the others fill bytes from the lowest bit.
class RawBits {
 public:
  RawBits(const uint16_t* passengers, int lanes, Bytes rest, uint64_t count) : rest_(rest) {
    const uint64_t riding = 16 * static_cast<uint64_t>(lanes);
    const uint64_t behind = count > riding ? count - riding : 0;
    if (rest.size() != (behind + 7) / 8) fail("a chunk has a wrong number of bytes for its raw bits");
    std::memcpy(riding_, passengers, 2 * static_cast<std::size_t>(lanes));
    riding_bytes_ = 2 * static_cast<std::size_t>(lanes);
  }

  uint32_t take(int bits) {  // at most 28
    while (filled_ < bits) {
      const uint64_t byte = at_ < riding_bytes_ ? riding_[at_] : rest_[at_ - riding_bytes_];
      ++at_;
      window_ |= byte << filled_;
      filled_ += 8;
    }
    const uint32_t result = static_cast<uint32_t>(window_ & ((uint64_t{1} << bits) - 1));
    window_ >>= bits;
    filled_ -= bits;
    return result;
  }

  // One bit each.
  void take_ones(std::size_t count, uint8_t* bits) {
    std::size_t i = 0;
    for (; i < count && filled_ > 0; ++i) bits[i] = static_cast<uint8_t>(take(1));
    for (; count - i >= 8; i += 8, ++at_) {
      const unsigned byte = at_ < riding_bytes_ ? riding_[at_] : rest_[at_ - riding_bytes_];
      for (int b = 0; b < 8; ++b) bits[i + b] = byte >> b & 1;
    }
    for (; i < count; ++i) bits[i] = static_cast<uint8_t>(take(1));
  }

  // Every bit has been taken: those behind must be 0.
  void finish() const {
    bool zero = window_ == 0;
    for (std::size_t i = at_; i < riding_bytes_ + rest_.size(); ++i) {
      zero = zero && (i < riding_bytes_ ? riding_[i] : rest_[i - riding_bytes_]) == 0;
    }
    if (!zero) fail("the bits behind the last raw bit are not 0");
  }

 private:
  uint8_t riding_[2 * kMaxLanes] = {};
  std::size_t riding_bytes_, at_ = 0;
  Bytes rest_;
  uint64_t window_ = 0;
  int filled_ = 0;
};

}  // namespace opq::grouped
