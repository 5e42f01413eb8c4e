#include "format/packed.h"

#include <bit>

namespace opq {
namespace {

int symbol_bits(int levels) { return std::bit_width(static_cast<unsigned>(2 * levels)); }

}  // namespace

uint64_t packed_bytes(uint64_t count, int levels) { return (count * symbol_bits(levels) + 7) / 8; }

std::vector<uint8_t> encode_packed(const int8_t* codes, std::size_t count, int levels) {
  const int bits = symbol_bits(levels);
  std::vector<uint8_t> stream;
  stream.reserve(packed_bytes(count, levels));
  uint32_t window = 0;  // bits not yet written, the oldest lowest
  int filled = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const int code = codes[i];
    if (code < -levels || code > levels) {
      throw Error(ErrorCode::kInput, "code " + std::to_string(code) + " is not in -" + std::to_string(levels) + ".." +
                                         std::to_string(levels));
    }
    window |= static_cast<uint32_t>(code + levels) << filled;
    filled += bits;
    for (; filled >= 8; filled -= 8, window >>= 8) stream.push_back(static_cast<uint8_t>(window));
  }
  if (filled > 0) stream.push_back(static_cast<uint8_t>(window));
  return stream;
}

void decode_packed(Bytes stream, int levels, int8_t* codes, std::size_t count) {
  const int bits = symbol_bits(levels);
  if (stream.size() != packed_bytes(count, levels)) {
    throw Error(ErrorCode::kFormat, "wrong length of the packed stream");
  }
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  uint64_t window = 0;
  int filled = 0;
  std::size_t next = 0;
  unsigned largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (filled < bits) {
      if (stream.size() - next >= 4) {
        window |= uint64_t{load<uint32_t>(stream.data() + next)} << filled;
        filled += 32, next += 4;
      } else {
        window |= uint64_t{stream[next++]} << filled;
        filled += 8;
      }
    }
    const unsigned symbol = static_cast<unsigned>(window & mask);
    window >>= bits;
    filled -= bits;
    largest = symbol > largest ? symbol : largest;
    codes[i] = static_cast<int8_t>(static_cast<int>(symbol) - levels);
  }
  if (largest > static_cast<unsigned>(2 * levels)) throw Error(ErrorCode::kFormat, "a code is larger than its levels");
  if (window != 0) throw Error(ErrorCode::kFormat, "the bits behind the last code are not 0");
}

}  // namespace opq
