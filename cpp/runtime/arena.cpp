#include "runtime/arena.h"

#include <iterator>

namespace opq {

void ArenaLayout::add(std::size_t offset, std::size_t bytes) {
  if (bytes == 0) return;
  gaps_.emplace(offset, bytes);
  by_size_.emplace(bytes, offset);
}

void ArenaLayout::remove(Gaps::iterator gap) {
  by_size_.erase({gap->second, gap->first});
  gaps_.erase(gap);
}

std::size_t ArenaLayout::allocate(std::size_t bytes) {
  if (const auto found = by_size_.lower_bound({bytes, 0}); found != by_size_.end()) {
    const auto [room, offset] = *found;
    remove(gaps_.find(offset));
    add(offset + bytes, room - bytes);
    return offset;
  }
  // The last gap can grow.
  std::size_t offset = size_;
  if (!gaps_.empty()) {
    const auto last = std::prev(gaps_.end());
    if (last->first + last->second == size_) {
      offset = last->first;
      remove(last);
    }
  }
  size_ = offset + bytes;
  return offset;
}

void ArenaLayout::release(std::size_t offset, std::size_t bytes) {
  if (bytes == 0) return;
  const auto next = gaps_.lower_bound(offset);
  std::size_t begin = offset, end = offset + bytes;
  if (next != gaps_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == begin) {
      begin = previous->first;
      remove(previous);
    }
  }
  if (next != gaps_.end() && next->first == end) {
    end += next->second;
    remove(next);
  }
  add(begin, end - begin);
}

}  // namespace opq
