// Conv and Linear on activations that are held as integers (docs/integers.md): the layer of a session of integer
// precision. Sums of integers are exact: how the work is divided does not change the result.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "runtime/grid.h"
#include "runtime/layers.h"
#include "runtime/requantization.h"

namespace opq {

// What happens to the finished sums S of channel m, and where they go. y and residual have the layout of the output.
struct IntegerEpilogue {
  // In fixed point, 8 bits: one rule per channel, and the ends of the clamp. Null: in float32,
  //   v = act(fma(float(S), scale[m] * scale of the input, bias[m]) + residual)
  const ByteRule* rules = nullptr;
  uint8_t least = 0, most = 255;
  const float* scale = nullptr;  // null: 1
  const float* bias = nullptr;   // null: 0
  Activation act;
  const std::byte* residual = nullptr;  // or none
  const Grid* residual_grid = nullptr;  // null: it is float32
  std::byte* y = nullptr;
  const Grid* y_grid = nullptr;  // null: float32
};

class IntegerLayer {
 public:
  // Whether 32-bit sums hold the products of these codes with whatever 8-bit activations are.
  static bool can_multiply(const Weights& weights);
  // kind: one of the layer's kernel_options(). has_dot_products: of the kernels that will run it.
  static std::unique_ptr<IntegerLayer> pack(const Weights& weights, const ConvGeometry& geometry, Precision precision,
                                            KernelKind kind, bool has_dot_products);
  // One image is one row of x: a shape with one pixel.
  static std::unique_ptr<IntegerLayer> pack_linear(const Weights& weights, Precision precision, KernelKind kind);
  // Bytes that they allocate at the most.
  static int64_t most_bytes(const Weights& weights, const ConvGeometry& geometry, KernelKind kind,
                            bool has_dot_products);
  static int64_t most_linear_bytes(const Weights& weights, KernelKind kind);
  virtual ~IntegerLayer() = default;

  virtual std::size_t scratch_bytes(const ConvShape& shape, int threads) const = 0;
  // x: elements of the precision; grids: one per image.
  virtual void run(const ConvShape& shape, const std::byte* x, const Grid* grids, const IntegerEpilogue& epilogue,
                   std::byte* scratch, ThreadPool& pool, const Kernels& kernels) const = 0;
  virtual std::size_t packed_bytes() const = 0;
  int64_t nonzeros() const { return nonzeros_; }
  virtual const char* kernel_name() const = 0;

  const std::vector<CodeSums>& code_sums() const { return code_sums_; }  // by output channel

 protected:
  explicit IntegerLayer(const Weights& weights);

 private:
  int64_t nonzeros_;
  std::vector<CodeSums> code_sums_;
};

}  // namespace opq
