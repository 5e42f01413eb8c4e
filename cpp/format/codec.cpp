#include "format/codec.h"

#include <algorithm>

#include "format/packed.h"
#include "format/rans.h"

namespace opq {
namespace {

// What a few bytes may expand to: 512 elements per byte, which is 1/64 bit each, on top of a fixed allowance.
constexpr uint64_t kElementsPerByte = 512, kAllowance = uint64_t{1} << 24;

}  // namespace

Codec code_codec(std::string_view name) {
  if (name == "packed") return Codec::kPacked;
  if (name == "rans0") return Codec::kRans0;
  if (name == "grouped") return Codec::kGrouped;
  throw Error(ErrorCode::kInput, "unknown codec " + std::string(name) + ", not packed, rans0 or grouped");
}

void check_stream_length(Codec codec, uint64_t count, int levels, std::size_t bytes) {
  if (codec == Codec::kPacked && bytes != packed_bytes(count, levels)) {
    throw Error(ErrorCode::kFormat, "the packed stream has " + std::to_string(bytes) + " bytes, not " +
                                        std::to_string(packed_bytes(count, levels)));
  }
  if (codec != Codec::kPacked && count > kAllowance + kElementsPerByte * bytes) {
    throw Error(ErrorCode::kFormat, "the stream of " + std::to_string(bytes) + " bytes is too short for " +
                                        std::to_string(count) + " elements");
  }
}

std::vector<uint8_t> encode_codes(Codec codec, const int8_t* codes, std::size_t count, int levels, CodeLayout layout,
                                  const Parallel& parallel) {
  if (codec == Codec::kPacked) return encode_packed(codes, count, levels);
  if (codec == Codec::kRans0) return encode_rans(codes, count, levels);
  const auto outside = [levels](int8_t code) { return code < -levels || code > levels; };
  if (const int8_t* found = std::find_if(codes, codes + count, outside); found != codes + count) {
    throw Error(ErrorCode::kInput, "code " + std::to_string(*found) + " is not in -" + std::to_string(levels) + ".." +
                                       std::to_string(levels));
  }
  return encode_grouped(codes, CodeType::kInt8, count, layout, parallel);
}

void decode_codes(Codec codec, Bytes stream, int levels, int8_t* codes, std::size_t count, const Parallel& parallel) {
  if (codec == Codec::kPacked) {
    decode_packed(stream, levels, codes, count);
  } else if (codec == Codec::kRans0) {
    decode_rans(stream, levels, codes, count);
  } else {
    decode_grouped(stream, -levels, levels, codes, CodeType::kInt8, count, parallel);
  }
}

}  // namespace opq
