// The symbol of each of 4096 slots, and the range of slots of each symbol.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "format/grouped/tables.h"

namespace opq::grouped {

struct SlotTable {
  std::array<uint8_t, kScale> symbol;
  std::array<uint32_t, 256> range;  // frequency << 16 | start

  // starts[symbols + 1], ascending from 0 to 4096.
  void set(const uint16_t* starts, int symbols) {
    for (int s = 0; s < symbols; ++s) {
      const uint32_t frequency = starts[s + 1] - starts[s];
      std::memset(symbol.data() + starts[s], s, frequency);
      range[s] = frequency << 16 | starts[s];
    }
  }

  void set_frequencies(const uint16_t* frequencies, int symbols) {
    uint16_t starts[257] = {};
    for (int s = 0; s < symbols; ++s) starts[s + 1] = static_cast<uint16_t>(starts[s] + frequencies[s]);
    set(starts, symbols);
  }
};

}  // namespace opq::grouped
