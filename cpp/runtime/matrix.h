// A quantized matrix by itself: y = diag(scale) codes x, without a graph. The layouts for one column of x and for
// several differ, so a matrix is packed for one of them.
#pragma once

#include <vector>

#include "runtime/aligned_buffer.h"
#include "runtime/layers.h"

namespace opq {

// Immutable; any number of threads may call matmul() at once.
class Matrix {
 public:
  // codes [rows, depth], scale [rows]. Throws Error(kInput) unless rows and depth are in 1..2^31 - 1.
  Matrix(const int8_t* codes, int64_t rows, int64_t depth, std::vector<float> scale, bool single_column);

  // x [depth, n] -> y [rows, n]; n is 1 for a matrix packed for a single column. Throws Error(kInput).
  void matmul(const float* x, int64_t n, int threads, float* y) const;

  int64_t rows() const { return rows_; }
  int64_t depth() const { return depth_; }
  std::size_t packed_bytes() const;

 private:
  int64_t rows_, depth_;
  std::vector<float> scale_;
  std::unique_ptr<LinearLayer> single_;  // for a single column, or
  std::unique_ptr<ConvLayer> several_;   // a 1x1 convolution over n pixels
};

}  // namespace opq
