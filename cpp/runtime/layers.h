// The layers that hold weights, packed once for this machine's kernels and shared by every session.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/kernels.h"
#include "runtime/thread_pool.h"
#include "runtime/weights.h"

namespace opq {

// What happens to a finished sum: y = act(scale[m] * sum + bias[m] + residual). Null scale: 1, null bias: 0, null
// residual: none. residual has y's layout.
struct Epilogue {
  const float* scale = nullptr;
  const float* bias = nullptr;
  const float* residual = nullptr;
  Activation act;
};

// Everything about a 2-D convolution that does not depend on the input's size.
struct ConvGeometry {
  int64_t group = 1;
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t dilation_h = 1, dilation_w = 1;
};

// x [n, c, h, w] -> y [n, m, out_h, out_w]. The padding below and on the right follows from out_h and out_w.
struct ConvShape {
  int64_t n, c, h, w;
  int64_t m, out_h, out_w;
  int64_t pad_top, pad_left;
};

enum class KernelKind : uint8_t { kSparse, kDense, kNibbles, kDepthwise };  // kernel_choice.h

class ConvLayer {
 public:
  // kind: one of the layer's kernel_options().
  static std::unique_ptr<ConvLayer> pack(const Weights& weights, const ConvGeometry& geometry, KernelKind kind);
  // Bytes that pack() allocates at the most, whatever the values are.
  static int64_t most_bytes(const Weights& weights, const ConvGeometry& geometry, KernelKind kind);
  virtual ~ConvLayer() = default;

  // Scratch memory in floats that run() needs for this shape, for all threads together.
  virtual std::size_t scratch_floats(const ConvShape& shape, int threads) const = 0;
  virtual void run(const ConvShape& shape, const float* x, float* y, const Epilogue& epilogue, float* scratch,
                   ThreadPool& pool, const Kernels& kernels) const = 0;
  virtual std::size_t packed_bytes() const = 0;
  virtual int64_t nonzeros() const = 0;
  virtual const char* kernel_name() const = 0;  // "sparse", "dense", "depthwise"
};

// y[n][m] = epilogue(sum over k of weights[m][k] * x[n][k])
class LinearLayer {
 public:
  static std::unique_ptr<LinearLayer> pack(const Weights& weights, KernelKind kind);
  static int64_t most_bytes(const Weights& weights, KernelKind kind);  // likewise
  virtual ~LinearLayer() = default;

  virtual std::size_t scratch_floats(int64_t batch, int threads) const = 0;
  virtual void run(int64_t batch, const float* x, float* y, const Epilogue& epilogue, float* scratch, ThreadPool& pool,
                   const Kernels& kernels) const = 0;
  virtual std::size_t packed_bytes() const = 0;
  virtual int64_t nonzeros() const = 0;
  virtual const char* kernel_name() const = 0;  // "sparse columns", "dense columns"
};

}  // namespace opq
