// The rans0 code stream: static range asymmetric numeral coding, interleaved states, 16-bit words. See docs/format.md.
#pragma once

#include <cstddef>
#include <vector>

#include "format/bytes.h"

namespace opq {

// count >= 1, every code in -levels..levels. Throws Error(kInput) otherwise.
std::vector<uint8_t> encode_rans(const int8_t* codes, std::size_t count, int levels);

// count >= 1. Throws Error(kFormat) for whatever the format does not allow; never reads outside of `stream`.
void decode_rans(Bytes stream, int levels, int8_t* codes, std::size_t count);

}  // namespace opq
