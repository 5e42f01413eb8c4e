// Depthwise convolution: every output channel reads one input channel, m / (M / C). The weights are few: kept as
// floats, zeros included.
//
// The usual windows, of 3 x 3 taps, read the image as it lies (kernels/depthwise3x3-inl.h); others read padded planes
// (depthwise-inl.h). The channels of small images are copied together to their planes before the first is computed: a
// load that spans several recent stores waits until these are in the cache.
#include <algorithm>
#include <limits>
#include <vector>

#include "runtime/conv_layer_packed.h"
#include "runtime/conv_layer_planes.h"
#include "runtime/parallel.h"

namespace opq {
namespace {

constexpr int64_t kFloatsAtOnce = 4 * 1024;   // of planes: half of the L1 cache
constexpr int64_t kSlack = 4 * kVector + 16;  // vectors read further than the last row, and cache lines are not shared

class DepthwiseConvLayer final : public ConvLayer {
 public:
  DepthwiseConvLayer(const Weights& weights, const ConvGeometry& geometry)
      : planes_(geometry),
        taps_(weights.depth),
        multiplier_(weights.rows / geometry.group),
        stride_(geometry.stride_h),
        is_3x3_(geometry.kernel_h == 3 && geometry.kernel_w == 3 && geometry.dilation_h == 1 &&
                geometry.dilation_w == 1 && geometry.stride_h == geometry.stride_w && geometry.stride_h <= 2) {
    const int64_t n = weights.rows * weights.depth;
    weights_.reserve(n);
    for (int64_t i = 0; i < n; ++i) {
      weights_.push_back(weights.codes ? static_cast<float>(weights.codes[i]) : weights.values[i]);
      nonzeros_ += weights_.back() != 0;
    }
  }

  std::size_t scratch_floats(const ConvShape& shape, int threads) const override {
    if (is_3x3_) return 0;
    const int64_t floats = planes_.channel_floats(shape);
    if (floats > std::numeric_limits<int64_t>::max() / 2 / threads) return std::numeric_limits<std::size_t>::max();
    return planes_.offset_floats(1) + (floats * channels_at_once(floats) + kSlack) * threads;
  }

  void run(const ConvShape& shape, const float* x, float* y, const Epilogue& epilogue, float* scratch, ThreadPool& pool,
           const Kernels& kernels) const override {
    if (is_3x3_) return run_3x3(shape, x, y, epilogue, pool, kernels);
    const std::ptrdiff_t* offsets = planes_.write_offsets(shape, 1, planes_.channel_floats(shape), scratch);
    const int64_t pixels = shape.out_h * shape.out_w, planes_floats = planes_.channel_floats(shape);
    parallel_ranges(pool, shape.n * shape.c, grain_of(planes_floats), [&](int64_t begin, int64_t end, int thread) {
      const int64_t at_once = std::min(channels_at_once(planes_floats), end - begin);
      float* planes = scratch + thread * (planes_floats * channels_at_once(planes_floats) + kSlack);
      std::fill_n(planes, planes_floats * at_once + kSlack, 0.0f);  // the padding of all
      for (int64_t first = begin; first < end; first += at_once) {
        const int64_t last = std::min(first + at_once, end);
        for (int64_t i = first; i < last; ++i) {
          planes_.fill_inside(shape, x + i * shape.h * shape.w, planes + (i - first) * planes_floats, kernels);
        }
        for (int64_t i = first * multiplier_; i < last * multiplier_; ++i) {
          const int64_t m = i % (shape.c * multiplier_), offset = i * pixels;
          kernels.depthwise_plane(planes + (i / multiplier_ - first) * planes_floats, offsets,
                                  weights_.data() + m * taps_, taps_, planes_.row_stride(shape), scale(epilogue, m),
                                  bias(epilogue, m), epilogue.residual ? epilogue.residual + offset : nullptr,
                                  epilogue.act, y + offset, shape.out_h, shape.out_w);
        }
      }
    });
  }

  std::size_t packed_bytes() const override { return weights_.size() * sizeof(float); }
  int64_t nonzeros() const override { return nonzeros_; }
  const char* kernel_name() const override { return "depthwise"; }

 private:
  static float scale(const Epilogue& e, int64_t m) { return e.scale ? e.scale[m] : 1.0f; }
  static float bias(const Epilogue& e, int64_t m) { return e.bias ? e.bias[m] : 0.0f; }

  void run_3x3(const ConvShape& shape, const float* x, float* y, const Epilogue& epilogue, ThreadPool& pool,
               const Kernels& kernels) const {
    const int64_t pixels = shape.out_h * shape.out_w, outputs = shape.c * multiplier_;
    parallel_ranges(pool, shape.n * outputs, grain_of(pixels), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t m = i % outputs;
        const DepthwiseImage image = {.x = x + i / multiplier_ * shape.h * shape.w,
                                      .height = shape.h,
                                      .width = shape.w,
                                      .pad_top = shape.pad_top,
                                      .pad_left = shape.pad_left,
                                      .stride = static_cast<int>(stride_)};
        kernels.depthwise_3x3(image, weights_.data() + m * taps_, scale(epilogue, m), bias(epilogue, m),
                              epilogue.residual ? epilogue.residual + i * pixels : nullptr, epilogue.act,
                              y + i * pixels, shape.out_h, shape.out_w);
      }
    });
  }

  static int64_t channels_at_once(int64_t planes_floats) {
    return std::max<int64_t>(1, kFloatsAtOnce / std::max<int64_t>(1, planes_floats));
  }

  InputPlanes planes_;
  int64_t taps_, multiplier_, stride_;
  bool is_3x3_;
  int64_t nonzeros_ = 0;
  std::vector<float> weights_;  // [m][taps]
};

}  // namespace

std::unique_ptr<ConvLayer> pack_depthwise_conv(const Weights& weights, const ConvGeometry& geometry) {
  return std::make_unique<DepthwiseConvLayer>(weights, geometry);
}

int64_t most_depthwise_conv_bytes(const Weights& weights) {
  return weights.rows * weights.depth * static_cast<int64_t>(sizeof(float));
}

}  // namespace opq
