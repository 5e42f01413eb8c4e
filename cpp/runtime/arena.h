// The layout of the activation memory: a buffer takes the smallest gap that has room for it. One buffer after another,
// each in logarithmic time.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <utility>

namespace opq {

class ArenaLayout {
 public:
  // A free offset with room for `bytes`, a multiple of kAlignment.
  std::size_t allocate(std::size_t bytes);
  void release(std::size_t offset, std::size_t bytes);
  std::size_t size() const { return size_; }  // of the arena, so far

 private:
  using Gaps = std::map<std::size_t, std::size_t>;  // offset -> bytes, never adjacent to one another

  void add(std::size_t offset, std::size_t bytes);
  void remove(Gaps::iterator gap);

  Gaps gaps_;
  std::set<std::pair<std::size_t, std::size_t>> by_size_;  // the same gaps: bytes, offset
  std::size_t size_ = 0;
};

}  // namespace opq
