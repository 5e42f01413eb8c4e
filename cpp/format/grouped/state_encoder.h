// The rANS coder of a chunk, the encoder's half. Mirrors src/opq/reference/grouped/rans.py.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "format/grouped/tables.h"

namespace opq::grouped {

// The slots of a symbol.
struct Range {
  Range() = default;
  Range(uint32_t slots, uint32_t first)
      : reciprocal(slots == 0 ? 0 : ((uint64_t{1} << 44) + slots - 1) / slots),
        frequency(static_cast<uint16_t>(slots)),
        start(static_cast<uint16_t>(first)) {}

  // ceil(2^44 / frequency). For x < frequency * 2^20, x * reciprocal is below 2^64, and x * reciprocal / 2^44 above
  // x / frequency by less than 1 / frequency: so its whole part is that of x / frequency.
  uint64_t reciprocal = 0;
  uint16_t frequency = 0, start = 0;
};

// Takes symbols from the last to the first, since a decoder pops what was pushed last.
class StateEncoder {
 public:
  // A lane per passenger, a power of 2 of them.
  explicit StateEncoder(const std::vector<uint16_t>& passengers) {
    for (const uint16_t passenger : passengers) states_.push_back(kLowest | passenger);
  }

  // One pass: `size` symbols, range_of(i) for i from size - 1 down to 0. No branches: nobody could predict them.
  template <typename RangeOf>
  void push(std::size_t size, const RangeOf& range_of) {
    const std::size_t last_lane = states_.size() - 1, before = words_.size();
    words_.resize(before + size);
    uint16_t* word = words_.data() + before;
    for (std::size_t i = size; i-- > 0;) {
      const Range& range = range_of(i);
      uint32_t state = states_[i & last_lane];
      const bool full = state >= uint64_t{range.frequency} << 20;
      *word = static_cast<uint16_t>(state);
      word += full;
      state = full ? state >> 16 : state;
      // state / frequency * 4096 + state % frequency + start
      const uint32_t quotient = static_cast<uint32_t>(state * range.reciprocal >> 44);
      states_[i & last_lane] = state + quotient * (kScale - range.frequency) + range.start;
    }
    words_.resize(static_cast<std::size_t>(word - words_.data()));
  }

  // Appends the states, then the words.
  void finish(std::vector<uint8_t>& bytes) {
    std::reverse(words_.begin(), words_.end());
    append(bytes, states_);
    append(bytes, words_);
  }

 private:
  static constexpr uint32_t kLowest = 1 << 16;

  template <typename T>
  static void append(std::vector<uint8_t>& bytes, const std::vector<T>& values) {
    const auto* begin = reinterpret_cast<const uint8_t*>(values.data());
    bytes.insert(bytes.end(), begin, begin + values.size() * sizeof(T));
  }

  std::vector<uint32_t> states_;
  std::vector<uint16_t> words_;
};

}  // namespace opq::grouped
