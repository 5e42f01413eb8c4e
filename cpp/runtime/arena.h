// The layout of the activation memory: first fit among the gaps, one buffer after another.
#pragma once

#include <cstddef>
#include <map>

namespace opq {

class ArenaLayout {
 public:
  // The lowest free offset with room for `bytes`, a multiple of kAlignment.
  std::size_t allocate(std::size_t bytes);
  void release(std::size_t offset, std::size_t bytes);
  std::size_t size() const { return size_; }  // of the arena, so far

 private:
  std::map<std::size_t, std::size_t> gaps_;  // offset -> bytes, never adjacent to one another
  std::size_t size_ = 0;
};

}  // namespace opq
