// The codecs of a tensor's payload by number and name. See docs/format.md, Payloads.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "format/bytes.h"

namespace opq {

enum class Codec : uint8_t { kRaw = 0, kPacked = 1, kRans0 = 2 };

// "packed" or "rans0". Throws Error(kInput) for another name.
Codec code_codec(std::string_view name);

// A stream of `bytes` bytes may hold `count` codes. Throws Error(kFormat) otherwise. To be asked before memory is
// allocated for them.
void check_stream_length(Codec codec, uint64_t count, int levels, std::size_t bytes);

// codes[count], each in -levels..levels, 1 <= levels <= 127, count >= 1. Throws Error(kInput).
std::vector<uint8_t> encode_codes(Codec codec, const int8_t* codes, std::size_t count, int levels);

// Throws Error(kFormat) for a stream that docs/format.md does not allow.
void decode_codes(Codec codec, Bytes stream, int levels, int8_t* codes, std::size_t count);

}  // namespace opq
