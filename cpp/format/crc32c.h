// CRC32C, the Castagnoli checksum of iSCSI: polynomial 0x1EDC6F41 reflected, initial value and final xor 0xFFFFFFFF.
#pragma once

#include <cstdint>

#include "format/bytes.h"

namespace opq {

uint32_t crc32c(Bytes bytes);

}  // namespace opq
