// Depthwise convolutions of codes with 8-bit activations, where the taps of a row lie beside each other and the stride
// along it is 1 or 2: the usual ones. Others are in integer_depthwise.cpp.
//
//   for some channels at a time, of every image:
//     planes = x[c], padded; the rows split into the phases of their stride      (PhaseAxis, conv_layer_planes.h)
//     for every channel c and output m of c, some rows at a time:
//       output = finished sums over windows of the plane, its padding included   (windows-inl.h)
//     y = the outputs without the padding
//
// The channels of small images are copied together before the first is computed, and computed before the first is
// copied back: a load that spans several recent stores waits until these are in the cache.
#include <algorithm>
#include <cstring>

#include "runtime/integer_finish.h"
#include "runtime/integer_layer_packed.h"
#include "runtime/integer_planes.h"
#include "runtime/parallel.h"
#include "runtime/saturating_product.h"
#include "runtime/scratch.h"

namespace opq {
namespace {

constexpr int64_t kPlanesAtOnce = 16 * 1024;  // bytes, half of the L1 cache
constexpr int64_t kOutputAtOnce = 4 * 1024;   // bytes
constexpr int64_t kReadBehind = 191;          // ByteWindow

// How many codes from code[0] on make one pass: their sums with 8-bit activations fit 16 bits (code_pairs.cpp).
int64_t codes_in_pass(const int8_t* code, int64_t count) {
  int positive = 0, negative = 0;
  for (int64_t k = 0; k < count; ++k) {
    positive += std::max<int>(code[k], 0);
    negative += std::max<int>(-code[k], 0);
    if (std::max(positive, negative) > 128) return k;
  }
  return count;
}

int64_t segments_of(const int8_t* code, int64_t depth) {
  int64_t passes = 0, k = 0;
  do {
    k += codes_in_pass(code + k, depth - k);
    ++passes;
  } while (k < depth);
  return passes;
}

// code = 16 * high + low, -8 <= low < 8
int8_t high_half(int8_t code) { return static_cast<int8_t>((code + 8) >> 4); }
int8_t low_half(int8_t code) { return static_cast<int8_t>(code - 16 * high_half(code)); }

// The codes of one output channel in passes: of all codes, where one does; of their halves, where two of those do; or
// of some codes each.
class Passes {
 public:
  Passes(const int8_t* codes, int64_t depth) : codes_(codes), depth_(depth), count_(segments_of(codes, depth)) {
    if (count_ == 1) return;
    std::vector<int8_t> high(codes, codes + depth), low = high;
    std::transform(high.begin(), high.end(), high.begin(), high_half);
    std::transform(low.begin(), low.end(), low.begin(), low_half);
    halved_ = segments_of(high.data(), depth) == 1 && segments_of(low.data(), depth) == 1;
    if (halved_) count_ = 2;
  }

  bool halved() const { return halved_; }
  int64_t count() const { return count_; }
  // Calls write(pass, tap, code) for all of them.
  template <typename Write>
  void for_each(const Write& write) const {
    for (int64_t k = 0; halved_ && k < depth_; ++k) {
      write(0, k, high_half(codes_[k]));
      write(1, k, low_half(codes_[k]));
    }
    for (int64_t k = 0, pass = 0; !halved_ && k < depth_; ++pass) {
      const int64_t end = k + codes_in_pass(codes_ + k, depth_ - k);
      for (; k < end; ++k) write(pass, k, codes_[k]);
    }
  }

 private:
  const int8_t* codes_;
  int64_t depth_, count_;
  bool halved_ = false;
};

// The codes of one pass: [height][pairs][even, odd], or with stride 2 [height][pairs].
class WindowCodes {
 public:
  explicit WindowCodes(const ConvGeometry& geometry)
      : width_(geometry.kernel_w), height_(geometry.kernel_h), stride_(geometry.stride_w) {}

  // Two taps each; with stride 1 the first tap may be the second of a pair.
  int64_t pairs() const { return stride_ == 1 ? width_ / 2 + 1 : (width_ + 1) / 2; }
  int64_t size() const { return height_ * pairs() * (stride_ == 1 ? 2 : 1); }
  void write(int64_t tap, int8_t code, uint16_t* codes) const {
    const int64_t ky = tap / width_, kx = tap % width_;
    const auto write_at = [&](int64_t place, int64_t kinds, int64_t kind) {
      uint16_t& pair = codes[(ky * pairs() + place / 2) * kinds + kind];
      pair = static_cast<uint16_t>(pair | static_cast<uint8_t>(code) << (place % 2 * 8));
    };
    if (stride_ == 2) return write_at(kx, 1, 0);
    write_at(kx, 2, 0);
    write_at(kx + 1, 2, 1);
  }

 private:
  int64_t width_, height_, stride_;
};

// A channel's padded rows: [phases][rows][row_bytes].
class WindowPlane {
 public:
  WindowPlane(const ConvGeometry& geometry, const ConvShape& shape, int64_t pairs)
      : y_(geometry.kernel_h, geometry.stride_h, geometry.dilation_h),
        stride_(geometry.stride_w),
        row_stride_(stride_ == 1 ? shape.out_w + geometry.kernel_w - 1 : shape.out_w - 1 + pairs),
        rows_(y_.size(shape.out_h)) {}

  int64_t row_stride() const { return row_stride_; }  // in pixels
  int64_t bytes() const { return saturating_product({y_.phases(), rows_, stride_, row_stride_}); }
  int64_t start_of(int64_t row) const { return row * stride_ * row_stride_; }  // of an output row
  // Of a row of taps, of output pixel (0, 0).
  int64_t offset_of(int64_t ky) const { return (y_.phase_of(ky) * rows_ + y_.shift_of(ky)) * stride_ * row_stride_; }
  // x[channels][h][w] into planes, `distance` apart, whose padding is in place.
  void fill(const ConvShape& shape, const uint8_t* x, int64_t channels, uint8_t* planes, int64_t distance,
            const Kernels& kernels) const {
    const int64_t row_bytes = stride_ * row_stride_;
    const PhaseAxis::Inside columns = PhaseAxis(1, 1, 1).inside(0, shape.pad_left, shape.w, row_bytes);
    for (int64_t phase = 0; phase < y_.phases(); ++phase) {
      const PhaseAxis::Inside rows = y_.inside(phase, shape.pad_top, shape.h, rows_);
      const uint8_t* from = x + rows.first * shape.w + columns.first;
      uint8_t* to = planes + (phase * rows_ + rows.begin) * row_bytes + columns.begin;
      for (int64_t c = 0; c < channels; ++c, from += shape.h * shape.w, to += distance) {
        kernels.copy_rows_u8(from, y_.stride() * shape.w, 1, to, row_bytes, rows.count, columns.count);
      }
    }
  }

 private:
  PhaseAxis y_;
  int64_t stride_, row_stride_, rows_;
};

class IntegerWindowLayer final : public IntegerLayer {
 public:
  IntegerWindowLayer(const Weights& weights, const ConvGeometry& geometry)
      : IntegerLayer(weights), geometry_(geometry), layout_(geometry), multiplier_(weights.rows / geometry.group) {
    uint32_t passes = 0;
    channels_.reserve(static_cast<std::size_t>(weights.rows));
    for (int64_t m = 0; m < weights.rows; ++m) {
      const Passes row(weights.codes + m * weights.depth, weights.depth);
      channels_.push_back({passes, static_cast<uint32_t>(row.count()), row.halved()});
      passes += static_cast<uint32_t>(row.count());
    }
    codes_.resize(static_cast<std::size_t>(passes * layout_.size()));
    for (int64_t m = 0; m < weights.rows; ++m) {
      uint16_t* to = codes_.data() + channels_[static_cast<std::size_t>(m)].first_pass * layout_.size();
      const Passes row(weights.codes + m * weights.depth, weights.depth);
      row.for_each(
          [&](int64_t pass, int64_t tap, int8_t code) { layout_.write(tap, code, to + pass * layout_.size()); });
    }
  }

  std::size_t scratch_bytes(const ConvShape& shape, int threads) const override {
    ScratchSize size;
    size.add<std::ptrdiff_t>(static_cast<std::size_t>(geometry_.kernel_h));
    const Sizes sizes(WindowPlane(geometry_, shape, layout_.pairs()), shape);
    for (int i = 0; i < threads; ++i) size.add<std::byte>(sizes.thread_bytes());
    return size.bytes();
  }

  void run(const ConvShape& shape, const std::byte* x, const Grid* grids, const IntegerEpilogue& epilogue,
           std::byte* scratch, ThreadPool& pool, const Kernels& kernels) const override {
    Scratch memory(scratch);
    const WindowPlane plane(geometry_, shape, layout_.pairs());
    const Sizes sizes(plane, shape);
    auto* rows = memory.take<std::ptrdiff_t>(static_cast<std::size_t>(geometry_.kernel_h));
    for (int64_t ky = 0; ky < geometry_.kernel_h; ++ky) rows[ky] = plane.offset_of(ky);
    const Job job = {shape, epilogue, kernels, plane, sizes, rows};
    auto* own = memory.take<std::byte>(0);
    parallel_ranges(pool, shape.n * shape.c, grain_of(plane.bytes()), [&](int64_t begin, int64_t end, int thread) {
      const Space space(sizes, own + static_cast<std::size_t>(thread) * align_up(sizes.thread_bytes()));
      int32_t padding = -1;
      for (int64_t i = begin; i < end;) {
        const int64_t image = i / shape.c, first = i % shape.c;
        const int64_t channels = std::min({sizes.channels, end - i, shape.c - first});
        const int32_t zero = grids[image].zero;
        if (zero != padding) std::memset(space.planes, zero, static_cast<std::size_t>(sizes.channels * sizes.plane));
        padding = zero;
        plane.fill(shape, reinterpret_cast<const uint8_t*>(x) + i * shape.h * shape.w, channels, space.planes,
                   sizes.plane, kernels);
        for (int64_t j = 0; j < multiplier_; ++j) {
          const Outputs outputs = {grids[image], image * shape.m, first * multiplier_ + j, channels};
          if (finishes_to_integers<uint8_t>(epilogue)) {
            run_integers(job, outputs, space);
          } else {
            run_floats(job, outputs, space);
          }
        }
        i += channels;
      }
    });
  }

  std::size_t packed_bytes() const override {
    return codes_.size() * sizeof(codes_[0]) + channels_.size() * sizeof(channels_[0]) +
           code_sums().size() * sizeof(CodeSums);
  }
  const char* kernel_name() const override { return "int8 depthwise"; }

 private:
  struct Channel {
    uint32_t first_pass, passes;
    bool halved;
  };

  // How much is done at a time.
  struct Sizes {
    Sizes(const WindowPlane& of, const ConvShape& shape)
        : plane(std::min(of.bytes(), std::numeric_limits<int64_t>::max() / 16) + kReadBehind),
          channels(std::max<int64_t>(1, kPlanesAtOnce / plane)),
          rows(std::clamp<int64_t>(kOutputAtOnce / of.row_stride(), 1, shape.out_h)),
          output(std::min(of.row_stride(), std::numeric_limits<int64_t>::max() / (64 * rows)) * rows + kByteTile) {}
    std::size_t thread_bytes() const {
      return ScratchSize().add<uint8_t>(plane * channels).add<uint8_t>(output * channels).add<uint8_t>(output).bytes();
    }

    int64_t plane;     // bytes from a channel's plane to the next
    int64_t channels;  // whose planes are filled
    int64_t rows;      // of the output
    int64_t output;    // bytes of them, as far apart as in the planes
  };

  // A thread's own.
  struct Space {
    Space(const Sizes& sizes, std::byte* memory) {
      Scratch scratch(memory);
      planes = scratch.take<uint8_t>(static_cast<std::size_t>(sizes.channels * sizes.plane));
      output = scratch.take<uint8_t>(static_cast<std::size_t>(sizes.channels * sizes.output));
      residual = scratch.take<uint8_t>(static_cast<std::size_t>(sizes.output));
    }
    uint8_t *planes, *output, *residual;
  };

  struct Job {
    const ConvShape& shape;
    const IntegerEpilogue& epilogue;
    const Kernels& kernels;
    const WindowPlane& plane;
    const Sizes& sizes;
    const std::ptrdiff_t* rows;
  };

  // Of one image, output channels of neighbouring planes, one each.
  struct Outputs {
    const Grid& grid;
    int64_t before;  // output channels of the images before
    int64_t first, count;

    int64_t channel(int64_t c, int64_t multiplier) const { return first + c * multiplier; }
    int64_t offset(int64_t m, const ConvShape& shape, int64_t row) const {
      return ((before + m) * shape.out_h + row) * shape.out_w;
    }
  };

  ByteWindow window_of(const Job& job, int64_t m, const uint8_t* x) const {
    const Channel& channel = channels_[static_cast<std::size_t>(m)];
    return {.x = x,
            .rows = job.rows,
            .height = static_cast<int>(geometry_.kernel_h),
            .pairs = static_cast<int>(layout_.pairs()),
            .passes = static_cast<int>(channel.passes),
            .stride = static_cast<int>(geometry_.stride_w),
            .halved = channel.halved,
            .codes = codes_.data() + channel.first_pass * static_cast<std::size_t>(layout_.size())};
  }

  // One output channel of each plane that is filled.
  void run_integers(const Job& job, const Outputs& outputs, const Space& space) const {
    const auto& [shape, e, kernels, plane, sizes, rows] = job;
    const int64_t stride = plane.row_stride();
    alignas(64) int32_t sums[kByteTile];
    for (int64_t row = 0; row < shape.out_h; row += sizes.rows) {
      const int64_t count = std::min(sizes.rows, shape.out_h - row);
      for (int64_t c = 0; c < outputs.count; ++c) {
        const int64_t m = outputs.channel(c, multiplier_);
        auto output = integer_output<uint8_t>(e, m, outputs.offset(m, shape, row), outputs.grid);
        if (output.residual) {
          kernels.copy_rows_u8(output.residual, shape.out_w, 1, space.residual, stride, count, shape.out_w);
          output.residual = space.residual;
        }
        output.y = space.output + c * sizes.output;
        output.n = (count - 1) * stride + shape.out_w;
        kernels.byte_window(window_of(job, m, space.planes + c * sizes.plane + plane.start_of(row)), sums, &output);
      }
      for (int64_t c = 0; c < outputs.count; ++c) {
        const int64_t offset = outputs.offset(outputs.channel(c, multiplier_), shape, row);
        kernels.copy_rows_u8(space.output + c * sizes.output, stride, 1, reinterpret_cast<uint8_t*>(e.y) + offset,
                             shape.out_w, count, shape.out_w);
      }
    }
  }

  void run_floats(const Job& job, const Outputs& outputs, const Space& space) const {
    const auto& [shape, e, kernels, plane, sizes, rows] = job;
    for (int64_t c = 0; c < outputs.count; ++c) {
      const int64_t m = outputs.channel(c, multiplier_);
      ByteWindow window = window_of(job, m, nullptr);
      for (int64_t row = 0; row < shape.out_h; ++row) {
        for (int64_t column = 0; column < shape.out_w; column += kByteTile) {
          const int n = static_cast<int>(std::min<int64_t>(kByteTile, shape.out_w - column));
          const auto at = static_cast<std::size_t>(outputs.offset(m, shape, row) + column);
          alignas(64) int32_t sums[kByteTile];
          alignas(64) float floats[kByteTile] = {};
          window.x = space.planes + c * sizes.plane + plane.start_of(row) + geometry_.stride_w * column;
          kernels.byte_window(window, sums, nullptr);
          to_floats(sums, outputs.grid, code_sums()[static_cast<std::size_t>(m)], floats, n, kernels);
          finish_floats<uint8_t>(e, m, outputs.grid.scale, floats,
                                 e.residual ? e.residual + at * residual_size<uint8_t>(e) : nullptr,
                                 e.y + at * y_size<uint8_t>(e), n, kernels);
        }
      }
    }
  }

  ConvGeometry geometry_;
  WindowCodes layout_;
  int64_t multiplier_;
  std::vector<Channel> channels_;  // of the output
  std::vector<uint16_t> codes_;    // by pass
};

}  // namespace

bool has_integer_windows(const ConvGeometry& geometry) { return geometry.dilation_w == 1 && geometry.stride_w <= 2; }

std::unique_ptr<IntegerLayer> pack_integer_windows(const Weights& weights, const ConvGeometry& geometry) {
  return std::make_unique<IntegerWindowLayer>(weights, geometry);
}

int64_t most_integer_window_bytes(const Weights& weights) {
  // A channel takes 12 bytes; a pass has at the most 2 (kernel_w / 2 + 1) codes of 16 bits for every row of taps.
  int64_t bytes = weights.rows * 12;
  for (int64_t m = 0; m < weights.rows; ++m) {
    const int64_t passes = std::max<int64_t>(2, segments_of(weights.codes + m * weights.depth, weights.depth));
    bytes += passes * 3 * weights.depth * int64_t{sizeof(uint16_t)};
  }
  return bytes;
}

}  // namespace opq
