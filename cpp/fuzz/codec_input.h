// The first bytes of an input of codec_fuzzer and encoder_fuzzer, and what both check.
//
//   u8 codec | u8 levels | u8 type | u24 count | u8 kernel | u8 width | rest
//
// codec is an index of kCodecs; one more stands for integers of any type in a grouped stream. count is that of the
// codes in a stream. kernel and width are the layout in which codes are encoded.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <vector>

#include "format/codec.h"
#include "format/packed.h"

namespace opq {

inline constexpr Codec kCodecs[] = {Codec::kPacked, Codec::kRans0, Codec::kGrouped};

struct CodecInput {
  static constexpr std::size_t kHeaderBytes = 8, kMaxCodes = 1 << 19;

  bool integers;
  Codec codec;
  int levels;
  CodeType type;
  std::size_t count;
  CodeLayout layout;
  Bytes rest;

  // data: at least kHeaderBytes.
  explicit CodecInput(Bytes data)
      : integers(data[0] % (std::size(kCodecs) + 1) == std::size(kCodecs)),
        codec(integers ? Codec::kGrouped : kCodecs[data[0] % (std::size(kCodecs) + 1)]),
        levels(1 + data[1] % kMaxLevels),
        type(static_cast<CodeType>(data[2] % 5)),
        count(1 + (data[3] | data[4] << 8 | data[5] << 16) % kMaxCodes),
        rest(data.subspan(kHeaderBytes)) {
    const int kernel = data[6] % 8 == 0 ? 0 : 3 + data[6] % 8;
    layout = {static_cast<uint32_t>((1 + data[7]) * std::max(1, kernel)), kernel};
  }
};

// Aborts unless the codes decode to what they were.
inline void check_codes(const CodecInput& input, const std::vector<int8_t>& codes) {
  const std::vector<uint8_t> stream = encode_codes(input.codec, codes.data(), codes.size(), input.levels, input.layout);
  check_stream_length(input.codec, codes.size(), input.levels, stream.size());
  std::vector<int8_t> again(codes.size());
  decode_codes(input.codec, stream, input.levels, again.data(), again.size());
  if (again != codes) std::abort();
}

template <typename T>
void check_integers(const CodecInput& input, const std::vector<T>& integers) {
  const std::vector<uint8_t> stream = encode_grouped(integers.data(), input.type, integers.size(), input.layout, {});
  std::vector<T> again(integers.size());
  decode_grouped(stream, std::numeric_limits<T>::min(), std::numeric_limits<T>::max(), again.data(), input.type,
                 again.size(), {});
  if (again != integers) std::abort();
}

// One input of a target: use_codes(input), or use_integers(input, tag) where decltype(tag)::type is the integers' type.
template <typename UseCodes, typename UseIntegers>
int run_codec_input(Bytes data, const UseCodes& use_codes, const UseIntegers& use_integers) {
  if (data.size() < CodecInput::kHeaderBytes) return 0;
  const CodecInput input(data);
  if (input.integers) {
    with_code_type(input.type, [&](auto tag) { use_integers(input, tag); });
  } else {
    use_codes(input);
  }
  return 0;
}

}  // namespace opq
