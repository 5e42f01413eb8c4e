#include "runtime/memory_limit.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "format/error.h"

namespace opq {
namespace {

constexpr double kMost = 0x1p40;  // also where the system does not tell
// Attention over long texts needs some thousand bytes for each byte of its inputs, everything else far less.
constexpr double kPerByte = 4096, kAllowance = 0x1p30, kPerThread = 0x1p24;

double machine_memory() {
  const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_bytes <= 0) return kMost;
  return std::min(kMost, static_cast<double>(pages) * static_cast<double>(page_bytes));
}

std::string gigabytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GB", bytes * 1e-9);
  return text;
}

}  // namespace

void check_memory(double needed, double given, int threads) {
  const double limit = std::min(machine_memory(), kAllowance + kPerThread * threads + kPerByte * given);
  if (needed > limit) {
    throw Error(ErrorCode::kInput, "the network needs " + gigabytes(needed) +
                                       " of memory for these inputs, more than " + gigabytes(limit) +
                                       ", the limit for its size on this machine");
  }
}

}  // namespace opq
