// The codecs of a tensor's payload by number and name. See docs/format.md, Payloads.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "format/bytes.h"
#include "format/grouped/grouped.h"
#include "format/parallel.h"

namespace opq {

enum class Codec : uint8_t { kRaw = 0, kPacked = 1, kRans0 = 2, kGrouped = 3 };

// "packed", "rans0" or "grouped". Throws Error(kInput) for another name.
Codec code_codec(std::string_view name);

// A stream of `bytes` bytes may hold `count` codes. Throws Error(kFormat) otherwise. To be asked before memory is
// allocated for them.
void check_stream_length(Codec codec, uint64_t count, int levels, std::size_t bytes);

// codes[count], each in -levels..levels, 1 <= levels <= 127, count >= 1; kGrouped looks at their layout and uses the
// threads. Throws Error(kInput).
std::vector<uint8_t> encode_codes(Codec codec, const int8_t* codes, std::size_t count, int levels,
                                  CodeLayout layout = {4096, 0}, const Parallel& parallel = {});

// Throws Error(kFormat) for a stream that docs/format.md does not allow.
void decode_codes(Codec codec, Bytes stream, int levels, int8_t* codes, std::size_t count,
                  const Parallel& parallel = {});

}  // namespace opq
