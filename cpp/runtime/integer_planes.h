// Padded planes (conv_layer_planes.h) of activations that are held as integers.
#pragma once

#include "runtime/conv_layer_planes.h"

namespace opq {

inline constexpr int64_t kIntegerSlack = 64;  // elements behind an array that kernels read or write in whole chunks

inline void fill_plane(const IntegerPlane<uint8_t>& plane, const Kernels& kernels) { kernels.fill_byte_plane(plane); }
inline void fill_plane(const IntegerPlane<int16_t>& plane, const Kernels& kernels) { kernels.fill_word_plane(plane); }

// Fills the planes of one channel from x[h][w]; outside of the image lies `zero`.
template <typename T>
void fill_integer_planes(const InputPlanes& planes, const ConvShape& shape, const T* x, T zero, T* y,
                         const Kernels& kernels) {
  planes.for_each_phase(shape, [&](const InputPlanes::Phase& phase) {
    fill_plane({.x = x + phase.y.first * shape.w + phase.x.first,
                .x_stride = shape.w * phase.stride_h,
                .x_step = phase.stride_w,
                .y = y,
                .rows = phase.rows,
                .columns = phase.columns,
                .first_row = phase.y.begin,
                .row_count = phase.y.count,
                .first_column = phase.x.begin,
                .column_count = phase.x.count,
                .zero = zero},
               kernels);
    y += phase.rows * phase.columns;
  });
}

}  // namespace opq
