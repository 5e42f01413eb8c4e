// Copies of activations that are held as integers, in whole chunks: what is written too far is overwritten by the next
// run or the next row, or lies in the slack behind the last one.
//
// C, the set's own type, keeps the functions in the set's own file.
#pragma once

#include "kernels/kernels.h"

namespace opq {

constexpr int kChunk = 16;  // elements

template <class C, class T>
inline void copy_chunk(const T* x, T* y) {
  __builtin_memcpy(y, x, kChunk * sizeof(T));
}

template <class C, class T>
inline void copy_row(const T* x, std::ptrdiff_t step, T* y, std::ptrdiff_t n) {
  if (step == 1) {
    for (std::ptrdiff_t p = 0; p < n; p += kChunk) copy_chunk<C>(x + p, y + p);
  } else if (step == 2) {
    for (std::ptrdiff_t p = 0; p < n; p += kChunk) C::copy_even(x + 2 * p, y + p);
  } else {
    for (std::ptrdiff_t p = 0; p < n; ++p) y[p] = x[p * step];
  }
}

// panel[k][0..64) = runs of the source row at x + offsets[k], each copied as one chunk
template <class C, int chunk, class T>
inline void pack_chunks(const T* x, const std::ptrdiff_t* offsets, int depth, const IntegerRun* runs, int count,
                        T* panel) {
  for (int k = 0; k < depth; ++k, panel += kByteTile) {
    const T* row = x + offsets[k];
    for (int i = 0; i < count; ++i) __builtin_memcpy(panel + runs[i].dst, row + runs[i].src, chunk * sizeof(T));
  }
}

template <class C, class T>
void pack_integers(const T* x, const std::ptrdiff_t* offsets, int depth, const IntegerRun* runs, int count, int chunk,
                   T* panel) {
  if (count == 1) return pack_chunks<C, kByteTile>(x, offsets, depth, runs, 1, panel);
  if (chunk > 32) return pack_chunks<C, 64>(x, offsets, depth, runs, count, panel);
  if (chunk > 16) return pack_chunks<C, 32>(x, offsets, depth, runs, count, panel);
  return pack_chunks<C, 16>(x, offsets, depth, runs, count, panel);
}

// The gap between the elements of one row and those of the next is filled behind them: copies run into it.
template <class C, class T>
void fill_integer_plane(const IntegerPlane<T>& plane) {
  T* y = plane.y;
  T zeros[kChunk];
  for (int i = 0; i < kChunk; ++i) zeros[i] = plane.zero;
  const auto fill = [&](std::ptrdiff_t n) {
    for (std::ptrdiff_t i = 0; i < n; i += kChunk) copy_chunk<C>(zeros, y + i);
    y += n;
  };
  const std::ptrdiff_t gap = plane.columns - plane.column_count;
  if (plane.row_count == 0 || plane.column_count == 0) return fill(plane.rows * plane.columns);
  fill(plane.first_row * plane.columns + plane.first_column);
  for (std::ptrdiff_t r = 0; r < plane.row_count; ++r) {
    copy_row<C>(plane.x + r * plane.x_stride, plane.x_step, y, plane.column_count);
    y += plane.column_count;
    if (r + 1 < plane.row_count) fill(gap);
  }
  fill(plane.rows * plane.columns - (y - plane.y));
}

// Rows of one or two pieces, which may overlap.
template <class C, int piece, class T>
inline void copy_rows_by(const T* x, std::ptrdiff_t x_stride, T* y, std::ptrdiff_t y_stride, std::ptrdiff_t rows,
                         std::ptrdiff_t n) {
  const std::ptrdiff_t last = n - piece;
  for (std::ptrdiff_t r = 0; r < rows; ++r, x += x_stride, y += y_stride) {
    __builtin_memcpy(y, x, piece * sizeof(T));
    __builtin_memcpy(y + last, x + last, piece * sizeof(T));
  }
}

template <class C, class T>
inline void copy_whole_rows(const T* x, std::ptrdiff_t x_stride, T* y, std::ptrdiff_t y_stride, std::ptrdiff_t rows,
                            std::ptrdiff_t n) {
  for (; n > 128; n -= 64, x += 64, y += 64) copy_rows_by<C, 64>(x, x_stride, y, y_stride, rows, 64);
  if (n >= 64) return copy_rows_by<C, 64>(x, x_stride, y, y_stride, rows, n);
  if (n >= 32) return copy_rows_by<C, 32>(x, x_stride, y, y_stride, rows, n);
  if (n >= 16) return copy_rows_by<C, 16>(x, x_stride, y, y_stride, rows, n);
  if (n >= 8) return copy_rows_by<C, 8>(x, x_stride, y, y_stride, rows, n);
  if (n >= 4) return copy_rows_by<C, 4>(x, x_stride, y, y_stride, rows, n);
  if (n >= 2) return copy_rows_by<C, 2>(x, x_stride, y, y_stride, rows, n);
  if (n == 1) copy_rows_by<C, 1>(x, x_stride, y, y_stride, rows, n);
}

// y[p] = x[2 p] for n elements.
template <class C, class T>
inline void copy_every_second(const T* x, T* y, std::ptrdiff_t n) {
  if (n >= kChunk) {
    for (std::ptrdiff_t p = 0; p < n - kChunk; p += kChunk) C::copy_even(x + 2 * p, y + p);
    return C::copy_even(x + 2 * (n - kChunk), y + n - kChunk);
  }
  T chunk[kChunk];
  C::copy_even(x, chunk);
  copy_whole_rows<C>(chunk, 0, y, 0, 1, n);
}

template <class C, class T>
void copy_integer_rows(const T* x, std::ptrdiff_t x_stride, std::ptrdiff_t step, T* y, std::ptrdiff_t y_stride,
                       std::ptrdiff_t rows, std::ptrdiff_t n) {
  if (step == 1) return copy_whole_rows<C>(x, x_stride, y, y_stride, rows, n);
  for (std::ptrdiff_t r = 0; r < rows; ++r, x += x_stride, y += y_stride) {
    if (step == 2) {
      copy_every_second<C>(x, y, n);
    } else {
      for (std::ptrdiff_t p = 0; p < n; ++p) y[p] = x[p * step];
    }
  }
}

}  // namespace opq
