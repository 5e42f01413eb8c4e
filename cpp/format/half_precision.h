// How float32 numbers lie in a file: in 4 bytes, or in 2 that widen to them exactly. See docs/format.md, Payloads.
#pragma once

#include "format/bytes.h"

namespace opq {

// The numbers are those of the directory.
enum class FloatCodec : uint8_t { kRaw = 0, kFloat16 = 4, kBfloat16 = 5 };

inline bool is_half_precision(uint8_t codec) { return codec == 4 || codec == 5; }
inline std::size_t float_bytes(FloatCodec codec) { return codec == FloatCodec::kRaw ? 4 : 2; }

// values[payload.size() / float_bytes(codec)]
void decode_floats(FloatCodec codec, Bytes payload, float* values);

}  // namespace opq
