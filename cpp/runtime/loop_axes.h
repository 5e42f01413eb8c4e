// Loops over an array with strides, counted in elements.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "format/tensors.h"

namespace opq {

struct LoopAxis {
  int64_t size, stride;
};

// The strides of a contiguous array.
inline std::vector<int64_t> contiguous_strides(const Shape& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (std::size_t axis = shape.size(); axis-- > 0; stride *= shape[axis]) strides[axis] = stride;
  return strides;
}

// An operand's axes in the loops over an output that it is broadcast to, as in NumPy: it does not move along an axis
// that it has not, or of which it has one element. unit: how far apart its neighbouring elements are.
inline std::vector<LoopAxis> broadcast_axes(const Shape& operand, const Shape& output, int64_t unit = 1) {
  const std::vector<int64_t> strides = contiguous_strides(operand);
  const std::size_t missing = output.size() - operand.size();
  std::vector<LoopAxis> axes(output.size());
  for (std::size_t axis = 0; axis < output.size(); ++axis) {
    const bool moves = axis >= missing && operand[axis - missing] > 1;
    axes[axis] = {output[axis], moves ? strides[axis - missing] * unit : 0};
  }
  return axes;
}

// Whether one loop does for both.
inline bool runs_on(const LoopAxis& outer, const LoopAxis& inner) { return outer.stride == inner.size * inner.stride; }

// Leaves out axes of size 1 and merges neighbours that run on without a jump. Outermost first.
inline std::vector<LoopAxis> merged(const std::vector<LoopAxis>& axes) {
  std::vector<LoopAxis> result;
  for (const LoopAxis& axis : axes) {
    if (axis.size == 1) continue;
    if (!result.empty() && runs_on(result.back(), axis)) {
      result.back() = {result.back().size * axis.size, axis.stride};
    } else {
      result.push_back(axis);
    }
  }
  return result;
}

inline int64_t loop_count(std::span<const LoopAxis> axes) {
  int64_t count = 1;
  for (const LoopAxis& axis : axes) count *= axis.size;
  return count;
}

// Where iteration `index` of the loops is.
inline int64_t offset_of(std::span<const LoopAxis> axes, int64_t index) {
  int64_t offset = 0;
  for (std::size_t i = axes.size(); i-- > 0; index /= axes[i].size) offset += index % axes[i].size * axes[i].stride;
  return offset;
}

}  // namespace opq
