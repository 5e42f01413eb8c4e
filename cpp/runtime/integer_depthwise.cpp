// Depthwise convolutions of codes with integer activations: every output channel reads one input channel, m / (M / C).
// Most of those in 8 bits are in integer_windows.cpp.
//
//   for every image and channel c:
//     planes = x[c], padded, split into the phases of the stride            (conv_layer_planes.h)
//     for every m of c, 64 pixels at a time of the output rows as they lie in the planes, their padding included:
//       sums[64] = sum over the taps of code * planes[offset of the tap + pixel]
//     finish them; leave the padding behind
#include <algorithm>
#include <cstring>
#include <limits>

#include "runtime/code_pairs.h"
#include "runtime/integer_finish.h"
#include "runtime/integer_layer_packed.h"
#include "runtime/integer_planes.h"
#include "runtime/parallel.h"
#include "runtime/saturating_product.h"
#include "runtime/scratch.h"

namespace opq {
namespace {

template <typename T>
class IntegerDepthwiseLayer final : public IntegerLayer {
 public:
  using Sum = typename Held<T>::Sum;

  IntegerDepthwiseLayer(const Weights& weights, const ConvGeometry& geometry)
      : IntegerLayer(weights),
        planes_(geometry),
        multiplier_(weights.rows / geometry.group),
        pairs_(sizeof(T) == 1 ? Precision::kInt8 : Precision::kInt16) {
    for (int64_t m = 0; m < weights.rows; ++m) pairs_.add_row(weights.codes + m * weights.depth, weights.depth);
    pairs_.finish();
  }

  std::size_t scratch_bytes(const ConvShape& shape, int threads) const override {
    ScratchSize size;
    size.add<float>(static_cast<std::size_t>(planes_.offset_floats(1)));
    for (int i = 0; i < threads; ++i) size.add<std::byte>(thread_bytes(shape));
    return size.bytes();
  }

  void run(const ConvShape& shape, const std::byte* x, const Grid* grids, const IntegerEpilogue& epilogue,
           std::byte* scratch, ThreadPool& pool, const Kernels& kernels) const override {
    Scratch memory(scratch);
    auto* space = memory.take<float>(static_cast<std::size_t>(planes_.offset_floats(1)));
    const Job job = {shape, epilogue, kernels, planes_.write_offsets(shape, 1, planes_.channel_floats(shape), space)};
    std::byte* own = memory.take<std::byte>(0);
    const std::size_t elements = plane_elements(shape);
    parallel_ranges(
        pool, shape.n * shape.c, grain_of(static_cast<int64_t>(elements)), [&](int64_t begin, int64_t end, int thread) {
          Scratch mine(own + static_cast<std::size_t>(thread) * (thread_bytes(shape) + kAlignment));
          T* planes = mine.take<T>(elements);
          const Rows rows = {mine.take<std::byte>(row_bytes(shape)), mine.take<std::byte>(row_bytes(shape))};
          std::fill_n(planes + planes_.channel_floats(shape), kIntegerSlack + kByteTile, T{0});
          for (int64_t i = begin; i < end; ++i) {
            const Grid& grid = grids[i / shape.c];
            fill_integer_planes(planes_, shape, reinterpret_cast<const T*>(x) + i * shape.h * shape.w,
                                static_cast<T>(grid.zero), planes, kernels);
            for (int64_t j = 0; j < multiplier_; ++j) {
              run_channel(job, i % shape.c * multiplier_ + j, i * multiplier_ + j, grid, planes, rows);
            }
          }
        });
  }

  std::size_t packed_bytes() const override { return pairs_.bytes() + code_sums().size() * sizeof(CodeSums); }
  const char* kernel_name() const override { return sizeof(T) == 1 ? "int8 depthwise" : "int16 depthwise"; }

 private:
  struct Job {
    const ConvShape& shape;
    const IntegerEpilogue& epilogue;
    const Kernels& kernels;
    const std::ptrdiff_t* offsets;
  };

  // The output and the residual of one channel, in rows as far apart as those of the planes.
  struct Rows {
    std::byte *y, *residual;
  };

  // Of one channel; the last tile is read in whole.
  std::size_t plane_elements(const ConvShape& shape) const {
    const int64_t elements = planes_.channel_floats(shape);
    return static_cast<std::size_t>(std::min(elements, std::numeric_limits<int64_t>::max() / 16) + kByteTile +
                                    kIntegerSlack);
  }
  std::size_t row_bytes(const ConvShape& shape) const {
    const int64_t bytes = saturating_product({shape.out_h, planes_.row_stride(shape), int64_t{sizeof(float)}});
    return static_cast<std::size_t>(std::min(bytes, std::numeric_limits<int64_t>::max() / 16)) +
           kByteTile * sizeof(float);
  }
  std::size_t thread_bytes(const ConvShape& shape) const {
    ScratchSize size;
    size.add<T>(plane_elements(shape))
        .template add<std::byte>(row_bytes(shape))
        .template add<std::byte>(row_bytes(shape));
    return align_up(size.bytes());
  }

  // Copies rows of one channel, with `from` and `to` elements from one row to the next.
  static void copy_rows(const ConvShape& shape, const std::byte* in, int64_t from, std::byte* out, int64_t to,
                        std::size_t element) {
    for (int64_t r = 0; r < shape.out_h; ++r) {
      std::memcpy(out + static_cast<std::size_t>(r * to) * element, in + static_cast<std::size_t>(r * from) * element,
                  static_cast<std::size_t>(shape.out_w) * element);
    }
  }

  // m: the output channel; place: it among those of all images.
  void run_channel(const Job& job, int64_t m, int64_t place, const Grid& grid, const T* planes,
                   const Rows& rows) const {
    const ConvShape& shape = job.shape;
    const IntegerEpilogue& e = job.epilogue;
    const int64_t stride = planes_.row_stride(shape), pixels = (shape.out_h - 1) * stride + shape.out_w;
    const auto offset = static_cast<std::size_t>(place * shape.out_h * shape.out_w);
    const std::byte* residual = nullptr;
    if (e.residual) {
      const std::size_t element = residual_size<T>(e);
      copy_rows(shape, e.residual + offset * element, shape.out_w, rows.residual, stride, element);
      residual = rows.residual;
    }
    if (finishes_to_integers<T>(e)) {
      run_integers(job, m, grid, planes, residual, pixels, rows.y);
    } else {
      run_floats(job, m, grid, planes, residual, pixels, rows.y);
    }
    const std::size_t element = y_size<T>(e);
    copy_rows(shape, rows.y, stride, e.y + offset * element, shape.out_w, element);
  }

  void run_integers(const Job& job, int64_t m, const Grid& grid, const T* planes, const std::byte* residual,
                    int64_t pixels, std::byte* y) const {
    const PairBlock row = pairs_.block(static_cast<std::size_t>(m));
    auto output = integer_output<T>(job.epilogue, m, 0, grid);
    output.residual = reinterpret_cast<const T*>(residual);
    output.y = reinterpret_cast<T*>(y);
    alignas(64) Sum sums[kByteTile];
    for (int64_t pixel = 0; pixel < pixels; pixel += kByteTile) {
      output.n = std::min<int64_t>(kByteTile, pixels - pixel);
      if constexpr (sizeof(T) == 1) {
        job.kernels.byte_block_in_place(row, 1, planes + pixel, job.offsets, sums, true, &output);
      } else {
        job.kernels.word_block_in_place(row, 1, planes + pixel, job.offsets, sums, true, &output);
      }
      output.y += kByteTile;
      if (output.residual) output.residual += kByteTile;
    }
  }

  void run_floats(const Job& job, int64_t m, const Grid& grid, const T* planes, const std::byte* residual,
                  int64_t pixels, std::byte* y) const {
    const IntegerEpilogue& e = job.epilogue;
    const PairBlock row = pairs_.block(static_cast<std::size_t>(m));
    for (int64_t pixel = 0; pixel < pixels; pixel += kByteTile) {
      const int n = static_cast<int>(std::min<int64_t>(kByteTile, pixels - pixel));
      alignas(64) Sum sums[kByteTile];
      if constexpr (sizeof(T) == 1) {
        job.kernels.byte_block_in_place(row, 1, planes + pixel, job.offsets, sums, true, nullptr);
      } else {
        job.kernels.word_block_in_place(row, 1, planes + pixel, job.offsets, sums, true, nullptr);
      }
      alignas(64) float floats[kByteTile] = {};
      to_floats(sums, grid, code_sums()[static_cast<std::size_t>(m)], floats, n, job.kernels);
      finish_floats<T>(e, m, grid.scale, floats,
                       residual ? residual + static_cast<std::size_t>(pixel) * residual_size<T>(e) : nullptr,
                       y + static_cast<std::size_t>(pixel) * y_size<T>(e), n, job.kernels);
    }
  }

  InputPlanes planes_;
  int64_t multiplier_;
  CodePairs pairs_;  // [m]
};

}  // namespace

std::unique_ptr<IntegerLayer> pack_integer_depthwise(const Weights& weights, const ConvGeometry& geometry,
                                                     Precision precision) {
  if (precision == Precision::kInt8) {
    if (has_integer_windows(geometry)) return pack_integer_windows(weights, geometry);
    return std::make_unique<IntegerDepthwiseLayer<uint8_t>>(weights, geometry);
  }
  return std::make_unique<IntegerDepthwiseLayer<int16_t>>(weights, geometry);
}

int64_t most_integer_depthwise_bytes(const Weights& weights) {
  return std::max(CodePairs::most_bytes(weights.rows, weights.rows * weights.depth),
                  most_integer_window_bytes(weights));
}

}  // namespace opq
