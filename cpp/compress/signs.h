// From magnitudes to codes.
#pragma once

#include <bit>
#include <cstdint>

namespace opq::compress {

// codes[i] = levels[i], negative where w[i] has its sign bit set. Signs of weights are as good as random: no branches.
inline void with_signs(const int32_t* levels, const float* w, int64_t count, int8_t* codes) {
  for (int64_t i = 0; i < count; ++i) {
    const int32_t negative = std::bit_cast<int32_t>(w[i]) >> 31;  // 0 or -1
    codes[i] = static_cast<int8_t>((levels[i] ^ negative) - negative);
  }
}

}  // namespace opq::compress
