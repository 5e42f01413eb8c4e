// The loops of an operation of two operands with NumPy's broadcasting, outermost first. The innermost axis is `inner`
// long; along it each operand moves by 0 or 1. The other axes are counted down by `offsets`: neighbouring axes along
// which both operands run on are merged, so that operands of one shape have one loop.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "format/tensors.h"
#include "runtime/parallel.h"

namespace opq {

class Broadcast {
 public:
  Broadcast(const Shape& a, const Shape& b, const Shape& y) {
    std::vector<Axis> axes;  // innermost first
    int64_t stride_a = 1, stride_b = 1;
    for (std::size_t i = 1; i <= y.size(); ++i) {
      const int64_t size = y[y.size() - i];
      const int64_t size_a = i <= a.size() ? a[a.size() - i] : 1, size_b = i <= b.size() ? b[b.size() - i] : 1;
      if (size == 1) continue;
      const Axis axis{size, size_a == 1 ? 0 : stride_a, size_b == 1 ? 0 : stride_b};
      stride_a *= size_a;
      stride_b *= size_b;
      if (!axes.empty() && axis.step_a == axes.back().size * axes.back().step_a &&
          axis.step_b == axes.back().size * axes.back().step_b) {
        axes.back().size *= size;
      } else {
        axes.push_back(axis);
      }
    }
    if (axes.empty()) axes.push_back({1, 1, 1});
    inner_ = axes.front().size;
    steps_[0] = static_cast<int>(axes.front().step_a);
    steps_[1] = static_cast<int>(axes.front().step_b);
    outer_.assign(axes.rbegin(), axes.rend() - 1);
    for (const Axis& axis : outer_) rows_ *= axis.size;
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
        const auto [offset_a, offset_b] = offsets(i / pieces);
        const int64_t start = i % pieces * length;
        piece(offset_a + start * steps_[0], offset_b + start * steps_[1], i / pieces * inner_ + start,
              std::min(length, inner_ - start));
      }
    });
  }

 private:
  struct Axis {
    int64_t size, step_a, step_b;
  };

  // Where row `row` starts in a and in b.
  std::pair<int64_t, int64_t> offsets(int64_t row) const {
    int64_t offset_a = 0, offset_b = 0;
    for (auto axis = outer_.rbegin(); axis != outer_.rend(); ++axis) {
      offset_a += row % axis->size * axis->step_a;
      offset_b += row % axis->size * axis->step_b;
      row /= axis->size;
    }
    return {offset_a, offset_b};
  }

  std::vector<Axis> outer_;
  int64_t rows_ = 1, inner_ = 1;
  int steps_[2] = {};
};

}  // namespace opq
