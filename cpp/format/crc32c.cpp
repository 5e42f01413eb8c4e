// Slicing by 8: eight bytes per step, one look-up for each. table[j][b] is the effect of byte b with j more bytes
// behind it. M. Kounavis, F. Berry, "A Systematic Approach to Building High Performance Software-based CRC Generators",
// ISCC 2005.
#include "format/crc32c.h"

#include <array>

namespace opq {
namespace {

constexpr uint32_t kReflectedPolynomial = 0x82F63B78;

constexpr std::array<std::array<uint32_t, 256>, 8> make_tables() {
  std::array<std::array<uint32_t, 256>, 8> table{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? kReflectedPolynomial : 0);
    table[0][b] = crc;
  }
  for (std::size_t j = 1; j < 8; ++j) {
    for (uint32_t b = 0; b < 256; ++b) table[j][b] = (table[j - 1][b] >> 8) ^ table[0][table[j - 1][b] & 0xFF];
  }
  return table;
}

constexpr auto kTable = make_tables();

}  // namespace

uint32_t crc32c(Bytes bytes) {
  uint32_t crc = 0xFFFFFFFF;
  const uint8_t* p = bytes.data();
  std::size_t n = bytes.size();
  for (; n >= 8; n -= 8, p += 8) {
    const uint32_t low = load<uint32_t>(p) ^ crc, high = load<uint32_t>(p + 4);
    crc = kTable[7][low & 0xFF] ^ kTable[6][(low >> 8) & 0xFF] ^ kTable[5][(low >> 16) & 0xFF] ^ kTable[4][low >> 24] ^
          kTable[3][high & 0xFF] ^ kTable[2][(high >> 8) & 0xFF] ^ kTable[1][(high >> 16) & 0xFF] ^
          kTable[0][high >> 24];
  }
  for (; n > 0; --n, ++p) crc = (crc >> 8) ^ kTable[0][(crc ^ *p) & 0xFF];
  return ~crc;
}

}  // namespace opq
