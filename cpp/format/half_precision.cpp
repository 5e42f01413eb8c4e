#include "format/half_precision.h"

namespace opq {
namespace {

// sign 1 | exponent 5, bias 15 | fraction 10
float widen_float16(uint16_t bits) {
  const uint32_t sign = uint32_t{bits} >> 15 << 31, exponent = bits >> 10 & 31u, fraction = bits & 1023u;
  if (exponent == 0) {  // zero and the subnormal numbers, which are normal ones of float32
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  const uint32_t biased = exponent == 31 ? 255 : exponent - 15 + 127;
  return std::bit_cast<float>(sign | biased << 23 | fraction << 13);
}

// The upper half of a float32.
float widen_bfloat16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

}  // namespace

void decode_floats(FloatCodec codec, Bytes payload, float* values) {
  if (codec == FloatCodec::kRaw) {
    if (!payload.empty()) std::memcpy(values, payload.data(), payload.size());
    return;
  }
  const auto widen = codec == FloatCodec::kFloat16 ? widen_float16 : widen_bfloat16;
  for (std::size_t i = 0; i < payload.size() / 2; ++i) values[i] = widen(load<uint16_t>(payload.data() + 2 * i));
}

}  // namespace opq
