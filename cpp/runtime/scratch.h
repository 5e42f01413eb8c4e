// Scratch memory handed out piece by piece, each aligned to a cache line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "runtime/aligned_buffer.h"

namespace opq {

class Scratch {
 public:
  explicit Scratch(std::byte* begin) : next_(begin) { take_bytes(0); }

  template <typename T>
  T* take(std::size_t count) {
    return reinterpret_cast<T*>(take_bytes(count * sizeof(T)));
  }
  std::byte* rest() const { return next_; }

 private:
  std::byte* take_bytes(std::size_t bytes) {
    std::byte* piece =
        next_ + (align_up(reinterpret_cast<std::uintptr_t>(next_)) - reinterpret_cast<std::uintptr_t>(next_));
    next_ = piece + bytes;
    return piece;
  }

  std::byte* next_;
};

// What a Scratch needs for so many pieces of so many bytes together; stops at a quarter of what a number holds, so that
// a few such may be added.
class ScratchSize {
 public:
  template <typename T>
  ScratchSize& add(std::size_t count) {
    if (count > (kMost - bytes_) / sizeof(T)) {
      bytes_ = kMost;
    } else {
      bytes_ += count * sizeof(T) + (bytes_ < kMost - 2 * kAlignment ? kAlignment : 0);
      if (bytes_ > kMost) bytes_ = kMost;
    }
    return *this;
  }
  std::size_t bytes() const { return bytes_; }

 private:
  static constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max() / 4;
  std::size_t bytes_ = kAlignment;
};

}  // namespace opq
