// Products of codes with one row of integer activations, column by column (kernels/columns-integer-inl.h). Activations
// are centred, q - zero, in 16 bits; columns where that is 0 are skipped.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "runtime/aligned_buffer.h"
#include "runtime/integer_finish.h"
#include "runtime/integer_layer_packed.h"
#include "runtime/parallel.h"
#include "runtime/saturating_product.h"
#include "runtime/scratch.h"
#include "runtime/sparse_columns.h"

namespace opq {
namespace {

constexpr int64_t kDepth = 512;  // columns whose products 32 bits hold: 512 * 127 * 32767 < 2^31

int64_t padded(int64_t rows) { return (rows + kVector - 1) / kVector * kVector; }

// All codes, [m / 64][k][64]: the column k of a block is one cache line. The last block is as wide as its rows need.
class DenseCodes {
 public:
  static constexpr int64_t kRows = kColumnRows;
  using X = int16_t;  // centred

  explicit DenseCodes(const Weights& weights)
      : rows_(weights.rows), depth_(weights.depth), codes_(static_cast<std::size_t>(padded(rows_) * depth_)) {
    std::memset(codes_.data(), 0, codes_.size());
    for (int64_t m = 0; m < rows_; ++m) {
      const int8_t* row = weights.codes_of(m, 1);
      int8_t* out = block(m / kRows) + m % kRows;
      for (int64_t k = 0; k < depth_; ++k) out[k * width_of(m / kRows)] = row[k];
    }
  }

  int64_t rows_of_blocks() const { return kRows; }
  // sums[m] += codes * x for the rows of a block.
  template <typename Sum>
  void multiply(int64_t i, const int16_t* x, Sum* sums, const Kernels& kernels) const {
    alignas(64) int32_t part[kRows];
    const int64_t width = width_of(i);
    for (int64_t k = 0; k < depth_; k += kDepth) {
      kernels.columns_integer(block(i) + k * width, x + k, static_cast<std::size_t>(std::min(kDepth, depth_ - k)),
                              static_cast<int>(width / kVector), part);
      for (int64_t m = 0; m < width; ++m) sums[m] += part[m];
    }
  }
  std::size_t bytes() const { return codes_.size(); }
  static const char* name(bool words) { return words ? "int16 columns" : "int8 columns"; }

 private:
  int64_t width_of(int64_t i) const { return std::min(kRows, padded(rows_) - i * kRows); }
  int8_t* block(int64_t i) const { return reinterpret_cast<int8_t*>(codes_.data()) + i * kRows * depth_; }

  int64_t rows_, depth_;
  AlignedBuffer codes_;
};

// Codes of -8..7 as half bytes, two rows of 64 in one cache line: [m / 128][k][64] (kernels.h, columns_nibbles).
class NibbleCodes {
 public:
  static constexpr int64_t kRows = 128;
  using X = uint8_t;  // not centred

  explicit NibbleCodes(const Weights& weights)
      : depth_(weights.depth), lines_(static_cast<std::size_t>(bytes_of(weights.rows, weights.depth))) {
    auto* lines = reinterpret_cast<uint8_t*>(lines_.data());
    std::memset(lines, 0x88, lines_.size());
    for (int64_t m = 0; m < weights.rows; ++m) {
      const int8_t* row = weights.codes_of(m, 1);
      uint8_t* out = lines + m / kRows * kLine * depth_ + m % kLine;
      const bool is_high = m % kRows >= kLine;
      for (int64_t k = 0; k < depth_; ++k) {
        const int nibble = row[k] + 8;
        uint8_t& byte = out[k * kLine];
        byte = static_cast<uint8_t>(is_high ? (byte & 0x0f) | nibble << 4 : (byte & 0xf0) | nibble);
      }
    }
  }

  static int64_t bytes_of(int64_t rows, int64_t depth) { return (rows + kRows - 1) / kRows * kLine * depth; }

  int64_t rows_of_blocks() const { return kRows; }
  void multiply(int64_t i, const uint8_t* x, int32_t* sums, const Kernels& kernels) const {
    kernels.columns_nibbles(reinterpret_cast<const uint8_t*>(lines_.data()) + i * kLine * depth_, x,
                            static_cast<std::size_t>(depth_), sums);
  }
  std::size_t bytes() const { return lines_.size(); }
  static const char* name(bool) { return "int8 columns of 4 bits"; }

 private:
  static constexpr int64_t kLine = 64;

  int64_t depth_;
  AlignedBuffer lines_;
};

class SparseCodes {
 public:
  static constexpr int64_t kRows = SparseColumns::kMostRows;
  using X = int16_t;  // centred

  explicit SparseCodes(const Weights& weights) : columns_(weights) {}

  int64_t rows_of_blocks() const { return columns_.rows_of(0); }
  template <typename Sum>
  void multiply(int64_t i, const int16_t* x, Sum* sums, const Kernels& kernels) const {
    alignas(64) int32_t part[kRows];
    const int64_t rows = columns_.rows_of(i);
    for (int64_t k = 0; k < columns_.depth(); k += kDepth) {
      std::fill_n(part, rows, 0);
      const auto depth = static_cast<std::size_t>(std::min(kDepth, columns_.depth() - k));
      kernels.columns_sparse_integer(columns_.block(i, k), x + k, depth, part);
      for (int64_t m = 0; m < rows; ++m) sums[m] += part[m];
    }
  }
  std::size_t bytes() const { return columns_.bytes(); }
  static const char* name(bool words) { return words ? "int16 sparse columns" : "int8 sparse columns"; }

 private:
  SparseColumns columns_;
};

template <typename T, typename Codes>
class IntegerLinearLayer final : public IntegerLayer {
 public:
  explicit IntegerLinearLayer(const Weights& weights)
      : IntegerLayer(weights), rows_(weights.rows), depth_(weights.depth), codes_(weights) {}

  std::size_t scratch_bytes(const ConvShape& shape, int) const override {
    return ScratchSize().add<int16_t>(static_cast<std::size_t>(saturating_product({shape.n, depth_}))).bytes();
  }

  void run(const ConvShape& shape, const std::byte* x, const Grid* grids, const IntegerEpilogue& epilogue,
           std::byte* scratch, ThreadPool& pool, const Kernels& kernels) const override {
    const auto* q = reinterpret_cast<const T*>(x);
    const typename Codes::X* input = nullptr;
    if constexpr (kIsCentred) {
      auto* centred = Scratch(scratch).take<int16_t>(static_cast<std::size_t>(shape.n * depth_));
      for (int64_t i = 0; i < shape.n * depth_; ++i) centred[i] = static_cast<int16_t>(q[i] - grids[i / depth_].zero);
      input = centred;
    } else {
      input = q;
    }
    const int64_t blocks = (rows_ + codes_.rows_of_blocks() - 1) / codes_.rows_of_blocks();
    parallel_ranges(pool, blocks, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t block = begin; block < end; ++block) {
        for (int64_t image = 0; image < shape.n; ++image) {
          run_block(block, image, input + image * depth_, grids[image], epilogue, kernels);
        }
      }
    });
  }

  std::size_t packed_bytes() const override { return codes_.bytes() + code_sums().size() * sizeof(CodeSums); }
  const char* kernel_name() const override { return Codes::name(sizeof(T) == 2); }

 private:
  using Sum = typename Held<T>::Sum;
  static constexpr bool kIsCentred = std::is_same_v<typename Codes::X, int16_t>;

  void run_block(int64_t block, int64_t image, const typename Codes::X* x, const Grid& grid, const IntegerEpilogue& e,
                 const Kernels& kernels) const {
    alignas(64) Sum sums[Codes::kRows] = {};
    codes_.multiply(block, x, sums, kernels);
    const int64_t first = block * codes_.rows_of_blocks(), n = std::min(codes_.rows_of_blocks(), rows_ - first);
    for (int64_t i = 0; i < n && !kIsCentred; ++i) {
      const CodeSums& codes = code_sums()[static_cast<std::size_t>(first + i)];
      sums[i] -= static_cast<Sum>(grid.zero * (codes.positive - codes.negative));
    }
    const auto offset = static_cast<std::size_t>(image * rows_ + first);
    if constexpr (sizeof(T) == 1) {
      if (e.rules) return finish_fixed(first, n, offset, sums, grid, e);
    }
    finish(first, n, offset, sums, grid, e, kernels);
  }

  void finish_fixed(int64_t first, int64_t n, std::size_t offset, const Sum* sums, const Grid& grid,
                    const IntegerEpilogue& e) const {
    auto* y = reinterpret_cast<uint8_t*>(e.y) + offset;
    const auto* residual = e.residual ? reinterpret_cast<const uint8_t*>(e.residual) + offset : nullptr;
    for (int64_t i = 0; i < n; ++i) {
      const CodeSums& codes = code_sums()[static_cast<std::size_t>(first + i)];
      const int64_t sum = static_cast<int64_t>(sums[i]) + grid.zero * (codes.positive - codes.negative);
      const int r = residual ? residual[i] - e.residual_grid->zero : 0;
      y[i] = static_cast<uint8_t>(requantize(sum, e.rules[first + i], r, e.least, e.most));
    }
  }

  // act(fma(float(S), scale * scale of x, bias) + residual), channels beside each other.
  void finish(int64_t first, int64_t n, std::size_t offset, const Sum* sums, const Grid& grid, const IntegerEpilogue& e,
              const Kernels& kernels) const {
    alignas(64) float floats[Codes::kRows], scale[Codes::kRows], added[Codes::kRows], values[Codes::kRows];
    for (int64_t i = 0; i < n; ++i) {
      floats[i] = static_cast<float>(sums[i]);
      scale[i] = (e.scale ? e.scale[first + i] : 1.0f) * grid.scale;
    }
    const float* residual = nullptr;
    if (e.residual && e.residual_grid) {
      dequantize(reinterpret_cast<const T*>(e.residual) + offset, *e.residual_grid, added, static_cast<std::size_t>(n),
                 kernels);
      residual = added;
    } else if (e.residual) {
      residual = reinterpret_cast<const float*>(e.residual) + offset;
    }
    float* y = e.y_grid ? values : reinterpret_cast<float*>(e.y) + offset;
    kernels.finish_columns(floats, scale, e.bias ? e.bias + first : nullptr, residual, e.act, y, static_cast<int>(n));
    if (e.y_grid) quantize(values, *e.y_grid, reinterpret_cast<T*>(e.y) + offset, static_cast<std::size_t>(n), kernels);
  }

  int64_t rows_, depth_;
  Codes codes_;
};

template <typename T>
std::unique_ptr<IntegerLayer> pack(const Weights& weights, KernelKind kind) {
  if constexpr (sizeof(T) == 1) {
    if (kind == KernelKind::kNibbles) return std::make_unique<IntegerLinearLayer<T, NibbleCodes>>(weights);
  }
  if (kind == KernelKind::kDense) return std::make_unique<IntegerLinearLayer<T, DenseCodes>>(weights);
  return std::make_unique<IntegerLinearLayer<T, SparseCodes>>(weights);
}

}  // namespace

std::unique_ptr<IntegerLayer> pack_integer_linear(const Weights& weights, Precision precision, KernelKind kind) {
  return precision == Precision::kInt8 ? pack<uint8_t>(weights, kind) : pack<int16_t>(weights, kind);
}

int64_t most_integer_linear_bytes(const Weights& weights, KernelKind kind) {
  if (kind == KernelKind::kNibbles) return NibbleCodes::bytes_of(weights.rows, weights.depth);
  return kind == KernelKind::kSparse ? SparseColumns::most_bytes(weights) : padded(weights.rows) * weights.depth;
}

}  // namespace opq
