// The loops of an operation of two operands with NumPy's broadcasting, outermost first. The innermost axis is `inner`
// long; along it each operand moves by 0 or 1. Neighbouring axes along which both operands run on are merged, so that
// operands of one shape have one loop.
#pragma once

#include <algorithm>
#include <vector>

#include "format/tensors.h"
#include "runtime/loop_axes.h"
#include "runtime/parallel.h"

namespace opq {

class Broadcast {
 public:
  Broadcast(const Shape& a, const Shape& b, const Shape& y)
      : outer_a_(broadcast_axes(a, y)), outer_b_(broadcast_axes(b, y)) {
    merge();
    if (outer_a_.empty()) return;
    inner_ = outer_a_.back().size;
    steps_[0] = static_cast<int>(outer_a_.back().stride);
    steps_[1] = static_cast<int>(outer_b_.back().stride);
    outer_a_.pop_back();
    outer_b_.pop_back();
    rows_ = loop_count(outer_a_);
  }

  // By operand: 0 or 1.
  const int* steps() const { return steps_; }

  // Calls piece(a, b, y, count), offsets into the operands and the output, for all pieces of the innermost loop that
  // have up to `most` elements. Threads share them.
  template <typename Piece>
  void for_pieces(ThreadPool& pool, int64_t most, const Piece& piece) const {
    if (rows_ * inner_ == 0) return;
    const int64_t length = std::min(inner_, most), pieces = (inner_ + length - 1) / length;
    parallel_ranges(pool, rows_ * pieces, grain_of(length), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = i / pieces, start = i % pieces * length;
        piece(offset_of(outer_a_, row) + start * steps_[0], offset_of(outer_b_, row) + start * steps_[1],
              row * inner_ + start, std::min(length, inner_ - start));
      }
    });
  }

 private:
  // As merged() does with the axes of one operand.
  void merge() {
    std::size_t count = 0;
    for (std::size_t i = 0; i < outer_a_.size(); ++i) {
      const LoopAxis a = outer_a_[i], b = outer_b_[i];
      if (a.size == 1) continue;
      if (count > 0 && runs_on(outer_a_[count - 1], a) && runs_on(outer_b_[count - 1], b)) {
        outer_a_[count - 1] = {outer_a_[count - 1].size * a.size, a.stride};
        outer_b_[count - 1] = {outer_b_[count - 1].size * b.size, b.stride};
      } else {
        outer_a_[count] = a;
        outer_b_[count++] = b;
      }
    }
    outer_a_.resize(count);
    outer_b_.resize(count);
  }

  std::vector<LoopAxis> outer_a_, outer_b_;
  int64_t rows_ = 1, inner_ = 1;
  int steps_[2] = {1, 1};
};

}  // namespace opq
