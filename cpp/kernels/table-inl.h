// The table of kernels for the vector type V: all loops instantiated.
#pragma once

#include "kernels/columns-inl.h"
#include "kernels/dense-inl.h"
#include "kernels/depthwise-inl.h"
#include "kernels/elementwise-inl.h"
#include "kernels/finish-inl.h"
#include "kernels/panel-inl.h"
#include "kernels/planes-inl.h"
#include "kernels/pool-inl.h"
#include "kernels/reduce-inl.h"
#include "kernels/sparse-inl.h"

namespace opq {

template <class V>
constexpr Kernels make_kernels(const char* name) {
  static_assert(V::kLanes == kVector);
  return {
      .name = name,
      .copy_rows = copy_rows<V>,
      .pack_panel = pack_panel<V>,
      .sparse_block = sparse_block<V>,
      .dense_block = dense_block<V>,
      .finish_rows = finish_rows<V>,
      .expand_codes = expand_codes<V>,
      .columns_i8 = columns<V, int8_t>,
      .columns_f32 = columns<V, float>,
      .columns_sparse = columns_sparse<V>,
      .finish_columns = finish_columns<V>,
      .depthwise_plane = depthwise_plane<V>,
      .unary = unary<V>,
      .binary = binary<V>,
      .add_activate = add_activate<V>,
      .max_row = max_row<V>,
      .average_row = average_row<V>,
      .sum = sum<V>,
      .softmax = softmax<V>,
      .lrn = lrn<V>,
      .square_add = square_add<V>,
  };
}

}  // namespace opq
