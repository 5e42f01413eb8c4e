// The packed code stream: every code in b = ceil(log2(2K + 1)) bits, least significant bit first. See docs/format.md.
#pragma once

#include <cstddef>
#include <vector>

#include "format/bytes.h"

namespace opq {

inline constexpr int kMaxLevels = 127;

// Length of the stream in bytes. count <= 2^36, 1 <= levels <= 127.
uint64_t packed_bytes(uint64_t count, int levels);

// Every code must lie in -levels..levels. Throws Error(kInput) otherwise.
std::vector<uint8_t> encode_packed(const int8_t* codes, std::size_t count, int levels);

// Throws Error(kFormat) for a wrong length, a symbol above 2K, or bits behind the last symbol.
void decode_packed(Bytes stream, int levels, int8_t* codes, std::size_t count);

}  // namespace opq
