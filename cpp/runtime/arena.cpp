#include "runtime/arena.h"

#include <iterator>

namespace opq {

std::size_t ArenaLayout::allocate(std::size_t bytes) {
  for (auto gap = gaps_.begin(); gap != gaps_.end(); ++gap) {
    const auto [offset, room] = *gap;
    const bool last = offset + room == size_;  // the last gap can grow
    if (room < bytes && !last) continue;
    gaps_.erase(gap);
    if (room > bytes) gaps_[offset + bytes] = room - bytes;
    if (room < bytes) size_ = offset + bytes;
    return offset;
  }
  size_ += bytes;
  return size_ - bytes;
}

void ArenaLayout::release(std::size_t offset, std::size_t bytes) {
  if (bytes == 0) return;
  auto gap = gaps_.emplace(offset, bytes).first;
  if (const auto next = std::next(gap); next != gaps_.end() && offset + bytes == next->first) {
    gap->second += next->second;
    gaps_.erase(next);
  }
  if (gap != gaps_.begin()) {
    const auto previous = std::prev(gap);
    if (previous->first + previous->second == offset) {
      previous->second += gap->second;
      gaps_.erase(gap);
    }
  }
}

}  // namespace opq
