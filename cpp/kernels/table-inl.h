// The table of kernels for one instruction set's types of vectors: all loops instantiated. V: floats; S: 16-bit sums of
// products of bytes, P: of neighbouring bytes; W: 32-bit sums of products of words; C: 32-bit sums of columns of codes;
// N: 16-bit sums of columns of half bytes; Q: 32-bit sums of products of four bytes.
#pragma once

#include "kernels/bytes-inl.h"
#include "kernels/columns-inl.h"
#include "kernels/columns-integer-inl.h"
#include "kernels/dense-inl.h"
#include "kernels/depthwise-inl.h"
#include "kernels/depthwise3x3-inl.h"
#include "kernels/elementwise-inl.h"
#include "kernels/finish-inl.h"
#include "kernels/integer-panel-inl.h"
#include "kernels/panel-inl.h"
#include "kernels/planes-inl.h"
#include "kernels/pool-inl.h"
#include "kernels/quads-inl.h"
#include "kernels/quantize-inl.h"
#include "kernels/reduce-inl.h"
#include "kernels/sparse-inl.h"
#include "kernels/windows-inl.h"
#include "kernels/words-inl.h"

namespace opq {

template <class V, class S, class P, class W, class C, class N, class Q>
constexpr Kernels make_kernels(const char* name) {
  static_assert(V::kLanes == kVector);
  return {
      .name = name,
      .has_dot_products = Q::kHasDotProducts,
      .copy_rows = copy_rows<V>,
      .pack_panel = pack_panel<V>,
      .sparse_block = sparse_block<V>,
      .dense_block = dense_block<V, float>,
      .dense_block_i8 = dense_block<V, int8_t>,
      .pack_bytes = pack_integers<C, uint8_t>,
      .pack_words = pack_integers<C, int16_t>,
      .byte_block = byte_block<S>,
      .word_block = word_block<V, W>,
      .byte_block_in_place = byte_block_in_place<S>,
      .word_block_in_place = word_block_in_place<V, W>,
      .pack_quads = pack_quads<Q>,
      .quad_block = quad_block<S, Q>,
      .byte_window = byte_window<S, P>,
      .columns_integer = columns_integer<C>,
      .columns_nibbles = columns_nibbles<N>,
      .columns_sparse_integer = columns_sparse_integer<C>,
      .fill_byte_plane = fill_integer_plane<C, uint8_t>,
      .fill_word_plane = fill_integer_plane<C, int16_t>,
      .copy_rows_u8 = copy_integer_rows<C, uint8_t>,
      .copy_rows_i16 = copy_integer_rows<C, int16_t>,
      .sums_to_floats = sums_to_floats<V>,
      .doubles_to_floats = doubles_to_floats<V>,
      .range = range<V>,
      .quantize_bytes = quantize_bytes<V>,
      .quantize_words = quantize_words<V>,
      .dequantize_bytes = dequantize_bytes<V>,
      .dequantize_words = dequantize_words<V>,
      .clamp_bytes = clamp_bytes<V>,
      .clamp_words = clamp_words<V>,
      .max_row_u8 = max_integer_row<V, uint8_t>,
      .max_row_i16 = max_integer_row<V, int16_t>,
      .finish_rows = finish_rows<V>,
      .columns_i8 = columns<V, int8_t>,
      .columns_f32 = columns<V, float>,
      .columns_sparse = columns_sparse<V>,
      .finish_columns = finish_columns<V>,
      .depthwise_plane = depthwise_plane<V>,
      .depthwise_3x3 = depthwise_3x3<V>,
      .unary = unary<V>,
      .binary = binary<V>,
      .add_activate = add_activate<V>,
      .max_row = max_row<V>,
      .average_row = average_row<V>,
      .sum = sum<V>,
      .softmax = softmax<V>,
      .lrn = lrn<V>,
  };
}

}  // namespace opq
