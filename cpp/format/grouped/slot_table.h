// The symbol of each of 4096 slots, and the range of slots of each symbol.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "format/grouped/tables.h"

namespace opq::grouped {

inline uint32_t slot_of(uint32_t state) { return state & (kScale - 1); }

// 6 KiB. One entry per slot with all three numbers would save a load, but not the time: the caches hold fewer of them.
struct SlotTable {
  struct Range {
    uint32_t frequency, minus_start;
  };
  std::array<uint8_t, kScale> symbol_at;
  std::array<Range, 256> range_of;

  // Symbols first, first + 1, .. with starts[symbols + 1], ascending from 0 to 4096.
  void set(const uint16_t* starts, int symbols, int first = 0) {
    for (int s = 0; s < symbols; ++s) {
      const uint32_t start = starts[s], frequency = starts[s + 1] - start;
      std::memset(symbol_at.data() + start, first + s, frequency);
      range_of[first + s] = {frequency, 0 - start};
    }
  }

  void set_frequencies(const uint16_t* frequencies, int symbols, int first = 0) {
    uint16_t starts[257] = {};
    for (int s = 0; s < symbols; ++s) starts[s + 1] = static_cast<uint16_t>(starts[s] + frequencies[s]);
    set(starts, symbols, first);
  }

  // The symbol; the state goes on to frequency * (state >> 12) + slot - start.
  uint32_t pop(uint32_t& state) const {
    const uint32_t slot = slot_of(state), symbol = symbol_at[slot];
    const Range& range = range_of[symbol];
    state = range.frequency * (state >> kScaleBits) + range.minus_start + slot;
    return symbol;
  }
};

}  // namespace opq::grouped
