// The table of kernels: one set of function pointers per instruction set, chosen once at run time.
//
// A kernel knows arrays and sizes only: no files, threads, exceptions or allocation; everything it needs has been
// checked before. Every set computes the same bits: each output is accumulated in one fixed order, every multiply-add
// is one fused operation, and transcendental functions are our own polynomials.
#pragma once

#include <cstddef>
#include <cstdint>

namespace opq {

inline constexpr int kVector = 8;        // pixels are computed in groups of 8
inline constexpr int kTile = 56;         // pixels per tile: 7 such groups
inline constexpr int kDepthBlock = 128;  // rows of a panel: 128 * 56 * 4 bytes = 28 KiB, fits the L1 cache
inline constexpr int kDenseRows = 3;     // rows of a dense block computed together: 3 x 4 vectors, all AVX2 registers
inline constexpr int kColumnRows = 64;   // rows of a block of dense columns: 64 codes are one cache line

// y = activation(v): kClip is min(max(v, lo), hi), which is ReLU for (0, inf); kLeaky is v < 0 ? slope * v : v.
// NaN stays NaN.
struct Activation {
  enum Kind : int { kNone, kClip, kLeaky };
  Kind kind = kNone;
  float lo = 0, hi = 0, slope = 0;
};

enum class Unary : int { kRelu, kLeakyRelu, kSigmoid, kHardSigmoid, kHardSwish, kTanh, kClip };
enum class Binary : int { kAdd, kSub, kMul, kDiv };

// Products.
//
// A panel is panel[k][kTile], up to kDepthBlock rows: the inputs of one tile of output pixels. acc[m][kTile] holds the
// partial sums between blocks; with `first` it is overwritten. vectors = number of 8-pixel groups to compute, 1..7.

// acc[m][p] += sum over the nonzeros of row m of  code * panel[k][p],  k ascending, for m in [0, rows), rows <= 256.
struct SparseBlock {
  const uint8_t* order;   // [rows]: the rows m in the order in which they are stored and done
  const uint8_t* counts;  // [rows], in that order, 0..128: nonzeros
  const uint16_t* pairs;  // [sum(counts)]: k + 256 * (code + 128)
};

// acc[m][p] += sum over k of  weights[m / 3][k][m % 3] * panel[k][p],  k ascending.
// Weights: floats, or codes.
template <typename Weight>
struct DenseBlock {
  const Weight* weights;
  int depth;
};

// A stretch of a panel's rows: 8 * vectors floats from source row + src to panel row + dst. The last stretch may end up
// to 7 floats behind the row's end: rows are filled in ascending order, and the panel has kVector floats of slack.
struct PanelRun {
  std::ptrdiff_t src;
  int dst;
  int vectors;
};

// Where finished sums of some output rows go, for p in [0, n), 8 * (vectors - 1) < n <= 8 * vectors:
//   y[m * stride + p] = act(fma(scale[m], sum, bias[m]) + residual[m * stride + p])
// Null scale: 1, null bias: 0, null residual: none.
struct RowOutput {
  const float* scale;
  const float* bias;
  const float* residual;
  std::ptrdiff_t stride;
  const Activation* act;
  float* y;
  int n;
};

// Integer products (docs/integers.md). An integer panel is panel[k][kByteTile]: activations of one tile of output
// pixels, as bytes or as words of 16 bits.
inline constexpr int kByteTile = 64;    // pixels
inline constexpr int kHalfTile = 32;    // up to so many take pairs half of the time
inline constexpr int kByteDepth = 512;  // rows of a panel of bytes: 32 KiB, the L1 cache
inline constexpr int kWordDepth = 256;  // of words
inline constexpr int kQuadDepth = 256;  // of bytes by fours: 16 KiB, which leave room for rows of codes and sums
inline constexpr int kPlaceUnit = 8;    // places are stored as 8 k: half-finished addresses
inline constexpr int kPairBytes = 5;    // of two nonzeros (bytes-inl.h)

// A stretch of an integer panel's rows: from source row + src to panel row + dst. It is copied as one chunk of 16, 32
// or 64 elements.
struct IntegerRun {
  std::ptrdiff_t src;
  int dst;
};

// y[rows][columns] = zero, but for y[first_row + r][first_column + p] = x[r * x_stride + p * x_step] for r in [0,
// row_count), p in [0, column_count).
template <class T>
struct IntegerPlane {
  const T* x;
  std::ptrdiff_t x_stride, x_step;
  T* y;
  std::ptrdiff_t rows, columns, first_row, row_count, first_column, column_count;
  T zero;
};

// Some output rows of codes, as pairs; bytes-inl.h says how they lie.
struct PairBlock {
  const uint16_t* segments;
  const uint8_t* counts;
  const uint8_t* pairs;
};

// Some output rows of codes, dense (quads-inl.h): of a row, codes + large. With dot products there are none that are
// large.
struct LargeQuad {
  uint16_t quad;
  int8_t codes[4];  // -32 to 32
};
struct QuadBlock {
  const int8_t* codes;  // [(rows + 3) / 4][quads][4 rows][4]
  int quads;
  int turn;  // so many neighbouring quads add up in 16 bits, from the first one on
  const uint32_t*
      large_begin;  // [rows + 1]: row m has large[large_begin[m]] to large[large_begin[m + 1] - 1], an even number
  const LargeQuad* large;
};

// The rule that makes bytes of the finished sums of one row.
struct ByteRule {
  int16_t multiplier, bias, residual_multiplier;
  int8_t shift, fraction;
};

// Where finished sums of some output rows go, n pixels of each: y[m * stride + p], and residual likewise. With several
// runs, run i is `length` pixels from i * step on, n counts them all. residual may be read up to 63 elements further.
struct ByteOutput {
  const ByteRule* rules;    // by row
  const uint8_t* residual;  // or null
  int residual_zero;
  std::ptrdiff_t stride;
  uint8_t least, most;
  uint8_t* y;
  std::ptrdiff_t n;
  int runs = 1, length = 0, step = 0;
};

// The same for words: y = the nearest integer of act(fma(sum, scale[m] * x_scale, bias[m]) + residual_scale * residual)
// * y_inverse, clamped to -32767..32767. Null scale: 1, null bias: 0, null residual: none.
struct WordOutput {
  const float* scale;
  float x_scale;
  const float* bias;
  const int16_t* residual;
  float residual_scale;
  const Activation* act;
  float y_inverse;
  std::ptrdiff_t stride;
  int16_t* y;
  std::ptrdiff_t n;
  int runs = 1, length = 0, step = 0;
};

// The input of one channel of a depthwise convolution. Output row 0 begins pad_top rows above it, output column 0
// pad_left columns before it. stride: 1 or 2, in both directions.
struct DepthwiseImage {
  const float* x;  // [height][width]
  std::ptrdiff_t height, width, pad_top, pad_left;
  int stride;
};

// One channel of a depthwise convolution of bytes, with stride 1 or 2 along the rows (windows-inl.h): of pixel p, in a
// plane whose rows lie one behind the other, tap (ky, kx) is x[rows[ky] + stride * p + kx]. x may be read up to 191
// elements further.
struct ByteWindow {
  const uint8_t* x;
  const std::ptrdiff_t* rows;  // [height]
  int height, pairs, passes, stride;
  bool halved;  // two passes, of code = 16 * high + low: first the high halves
  const uint16_t* codes;
};

// Some output rows of codes, as sparse columns: column k has entries[begin[k]] to entries[begin[k + 1] - 1]. An entry
// is code + 2^(bits - 1) in its low `bits`, and above them the row.
struct SparseColumnBlock {
  const uint32_t* begin;
  const uint16_t* entries;
  int bits;
};

struct Kernels {
  const char* name;       // "scalar", "avx2", "avx512", "avx512vnni", "neon", "neondot"
  bool has_dot_products;  // one instruction adds four products of bytes in 32 bits: any codes at once in quad_block

  // y[r * y_stride + p] = x[r * x_stride + p * step] for r in [0, rows), p in [0, n): one phase of a plane.
  void (*copy_rows)(const float* x, std::ptrdiff_t x_stride, std::ptrdiff_t step, float* y, std::ptrdiff_t y_stride,
                    std::ptrdiff_t rows, std::ptrdiff_t n);
  // panel[k] = the runs of the source row at x + offsets[k], for k in [0, depth).
  void (*pack_panel)(const float* x, const std::ptrdiff_t* offsets, int depth, const PanelRun* runs, int count,
                     float* panel);
  // With `output`, the last block: the sums go there and not to acc.
  void (*sparse_block)(const SparseBlock&, int rows, const float* panel, float* acc, int vectors, bool first,
                       const RowOutput* output);
  void (*dense_block)(const DenseBlock<float>&, int rows, const float* panel, float* acc, int vectors, bool first);
  void (*dense_block_i8)(const DenseBlock<int8_t>&, int rows, const float* panel, float* acc, int vectors, bool first);
  // panel[k] = the runs of the source row at x + offsets[k], for k in [0, depth). x may be read, and the panel written,
  // up to `chunk` elements further.
  void (*pack_bytes)(const uint8_t* x, const std::ptrdiff_t* offsets, int depth, const IntegerRun* runs, int count,
                     int chunk, uint8_t* panel);
  void (*pack_words)(const int16_t* x, const std::ptrdiff_t* offsets, int depth, const IntegerRun* runs, int count,
                     int chunk, int16_t* panel);
  // sums[m][kByteTile] (+)= codes * panel for rows [0, rows); overwritten with `first`. With `output`, the last block:
  // the sums are finished, and not kept.
  // For the first `pixels` of the tile; other sums stay as they are or become anything.
  void (*byte_block)(const PairBlock&, int rows, const uint8_t* panel, int pixels, int32_t* sums, bool first,
                     const ByteOutput* output);
  void (*word_block)(const PairBlock&, int rows, const int16_t* panel, int pixels, double* sums, bool first,
                     const WordOutput* output);
  // Likewise with the tile's inputs where they lie: row k of the panel is x + offsets[k].
  void (*byte_block_in_place)(const PairBlock&, int rows, const uint8_t* x, const std::ptrdiff_t* offsets,
                              int32_t* sums, bool first, const ByteOutput* output);
  void (*word_block_in_place)(const PairBlock&, int rows, const int16_t* x, const std::ptrdiff_t* offsets, double* sums,
                              bool first, const WordOutput* output);
  // Dense: the panel's rows four by four, [(depth + 3) / 4][kByteTile][4], with the bytes as the same set's quad_block
  // needs them (compensation-inl.h). x may be read, and the panel written, up to 64 elements further.
  void (*pack_quads)(const uint8_t* x, const std::ptrdiff_t* offsets, int depth, const IntegerRun* runs, int count,
                     uint8_t* panel);
  // As byte_block, for the first `pixels` of the tile. sums have whole fours of rows.
  void (*quad_block)(const QuadBlock&, int rows, const uint8_t* panel, int pixels, int32_t* sums, bool first,
                     const ByteOutput* output);
  // The output's n pixels, finished; residual may be read, and y is written, to a multiple of 64. Without `output` the
  // sums of the first 64.
  void (*byte_window)(const ByteWindow&, int32_t* sums, const ByteOutput* output);
  // Dense columns, as columns_i8: acc[m] = sum over k of columns[k][m] * x[k], columns with x[k] == 0 skipped. The sums
  // of |code * x| are below 2^31.
  void (*columns_integer)(const int8_t* columns, const int16_t* x, std::size_t depth, int vectors, int32_t* acc);
  // acc[m] = sum over k of (half byte m of columns[k][64] - 8) * x[k], m in [0, 128): row j in the low half of byte j,
  // row 64 + j in the high half. Columns with x[k] == 0 are skipped; the sums of 15 * x are below 2^31.
  void (*columns_nibbles)(const uint8_t* columns, const uint8_t* x, std::size_t depth, int32_t* acc);
  // Sparse columns: acc[row] += code * x[k]. The sums of |code * x| are below 2^31.
  void (*columns_sparse_integer)(const SparseColumnBlock&, const int16_t* x, std::size_t depth, int32_t* acc);
  // One phase of a padded plane. x may be read, and y written, up to 31 elements further.
  void (*fill_byte_plane)(const IntegerPlane<uint8_t>&);
  void (*fill_word_plane)(const IntegerPlane<int16_t>&);
  // y[r * y_stride + p] = x[r * x_stride + p * step] for r in [0, rows), p in [0, n). With step 1 nothing else is read,
  // else up to 31 elements further.
  void (*copy_rows_u8)(const uint8_t* x, std::ptrdiff_t x_stride, std::ptrdiff_t step, uint8_t* y,
                       std::ptrdiff_t y_stride, std::ptrdiff_t rows, std::ptrdiff_t n);
  void (*copy_rows_i16)(const int16_t* x, std::ptrdiff_t x_stride, std::ptrdiff_t step, int16_t* y,
                        std::ptrdiff_t y_stride, std::ptrdiff_t rows, std::ptrdiff_t n);

  // Between float32 and integers that are held (quantize-inl.h).
  void (*sums_to_floats)(const int32_t* sums, int32_t shift, float* y, int n);  // y[p] = float(sums[p] - shift)
  void (*doubles_to_floats)(const double* sums, float* y, int n);
  // The least and the largest of n values and 0, without those that are not finite.
  void (*range)(const float* x, std::size_t n, float* lo, float* hi);
  // q[i] = zero + the nearest integer, ties to even, of x[i] * inverse, clamped to 0..255; zero for NaN.
  void (*quantize_bytes)(const float* x, float inverse, int zero, uint8_t* q, std::size_t n);
  void (*quantize_words)(const float* x, float inverse, int16_t* q, std::size_t n);  // clamped to -32767..32767
  // x[i] = float(q[i] - zero) * scale
  void (*dequantize_bytes)(const uint8_t* q, int zero, float scale, float* x, std::size_t n);
  void (*dequantize_words)(const int16_t* q, float scale, float* x, std::size_t n);
  // y[i] = min(max(x[i], least), most)
  void (*clamp_bytes)(const uint8_t* x, uint8_t least, uint8_t most, uint8_t* y, std::size_t n);
  void (*clamp_words)(const int16_t* x, int16_t least, int16_t most, int16_t* y, std::size_t n);
  // y[p] = max over taps of rows[t][p].
  void (*max_row_u8)(const uint8_t* const* rows, int taps, uint8_t* y, std::ptrdiff_t n);
  void (*max_row_i16)(const int16_t* const* rows, int taps, int16_t* y, std::ptrdiff_t n);

  // output = acc, for rows [0, rows).
  void (*finish_rows)(const float* acc, int rows, const RowOutput& output);

  // One input vector times a block of output rows, accumulated column by column; columns with x[k] == 0 are skipped.
  // Dense columns: acc[m] = sum over k of columns[k][m] * x[k], k ascending, for m in [0, 8 * vectors), vectors 1..8.
  void (*columns_i8)(const int8_t* columns, const float* x, std::size_t depth, int vectors, float* acc);
  void (*columns_f32)(const float* columns, const float* x, std::size_t depth, int vectors, float* acc);
  // Sparse columns: acc[row][lanes] += code * x[k][lanes], k ascending, of 1 or 8 input vectors.
  void (*columns_sparse)(const SparseColumnBlock&, const float* x, std::size_t depth, int lanes, float* acc);
  // y[m] = act(fma(scale[m], acc[m], bias[m]) + residual[m]) for m in [0, n). Null pointers as in RowOutput.
  void (*finish_columns)(const float* acc, const float* scale, const float* bias, const float* residual,
                         const Activation&, float* y, int n);

  // One channel of a depthwise convolution: y[r * width + p] = act(fma(scale, s, bias) + residual[r * width + p]) with
  // s = sum over taps t of weights[t] * x[offsets[t] + r * row_stride + p], t ascending. x may be read up to 7 floats
  // further.
  void (*depthwise_plane)(const float* x, const std::ptrdiff_t* offsets, const float* weights, std::ptrdiff_t taps,
                          std::ptrdiff_t row_stride, float scale, float bias, const float* residual, const Activation&,
                          float* y, std::ptrdiff_t height, std::ptrdiff_t width);
  // Likewise with 3 x 3 taps, from an image that is not padded; nothing outside of it is read.
  void (*depthwise_3x3)(const DepthwiseImage&, const float* weights, float scale, float bias, const float* residual,
                        const Activation&, float* y, std::ptrdiff_t height, std::ptrdiff_t width);

  // Elementwise functions, pooling, reductions.
  void (*unary)(Unary, const float* x, float* y, std::size_t n, float a, float b);  // a, b: alpha, beta or min, max
  // y[i] = a[i * a_step] op b[i * b_step], steps 0 or 1.
  void (*binary)(Binary, const float* a, int a_step, const float* b, int b_step, float* y, std::size_t n);
  // y[i] = act(a[i] + b[i])
  void (*add_activate)(const float* a, const float* b, const Activation&, float* y, std::size_t n);
  // y[p] = max over taps of rows[t][p], NaN if one of them is.
  void (*max_row)(const float* const* rows, int taps, float* y, std::ptrdiff_t n);
  // y[p] = (sum over taps, ascending, of rows[t][p]) / divisor[p]
  void (*average_row)(const float* const* rows, int taps, const float* divisor, float* y, std::ptrdiff_t n);
  // 8 interleaved partial sums, lane j adds x[j], x[j + 8], ..., then ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)).
  float (*sum)(const float* x, std::size_t n);
  // Softmax over n contiguous elements: exp(x - max) / sum.
  void (*softmax)(const float* x, float* y, std::size_t n);
  // y[i] = x[i] / (bias + alpha * s)^beta: LRN. s = the sum of the squares of rows[c][i], c ascending in [0, count).
  void (*lrn)(const float* x, const float* const* rows, int count, float* y, std::size_t n, float alpha, float beta,
              float bias);
};

// The sets that this machine can run, best first; never empty.
struct KernelList {
  const Kernels* const* sets;
  int count;
};
KernelList supported_kernels();

// The set called `name`, or null when it is unknown or this machine cannot run it.
const Kernels* find_kernels(const char* name);

}  // namespace opq
