// Padded planes (conv_layer_planes.h) of activations that are held as integers.
#pragma once

#include <algorithm>
#include <cstring>

#include "runtime/conv_layer_planes.h"

namespace opq {

// Fills the planes of one channel from x[h][w]; outside of the image lies `zero`.
template <typename T>
void fill_integer_planes(const InputPlanes& planes, const ConvShape& shape, const T* x, T zero, T* out) {
  planes.for_each_phase(shape, [&](const InputPlanes::Phase& phase) {
    if (!phase.covered()) std::fill_n(out, phase.rows * phase.columns, zero);
    for (int64_t r = 0; r < phase.y.count && phase.x.count > 0; ++r) {
      const T* in = x + (phase.y.first + r * phase.stride_h) * shape.w + phase.x.first;
      T* row = out + (phase.y.begin + r) * phase.columns + phase.x.begin;
      if (phase.stride_w == 1) {
        std::memcpy(row, in, static_cast<std::size_t>(phase.x.count) * sizeof(T));
      } else if (phase.stride_w == 2) {
        for (int64_t p = 0; p < phase.x.count; ++p) row[p] = in[2 * p];
      } else {
        for (int64_t p = 0; p < phase.x.count; ++p) row[p] = in[p * phase.stride_w];
      }
    }
    out += phase.rows * phase.columns;
  });
}

}  // namespace opq
