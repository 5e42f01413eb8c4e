// Convolutions of codes with integer activations: sparse, by pairs of nonzeros (kernels/bytes-inl.h, words-inl.h), or
// dense (quads-inl.h).
//
//   for every image, group, part of the output rows m, tile of up to 64 output pixels:
//     for every block of k = (channel, ky, kx):
//       copy the tile's inputs to panel[k][64]
//       sums[m][64] += codes[m][k] * panel[k][64]                 in registers where a row is one segment
//     finish the rows, in fixed point or in float32
//
// Inputs that do not lie as the output does, one behind the other, come from padded planes. A tile of them is 64 output
// pixels, copied row by row, or some whole rows of output pixels with the padding between them, copied at once: faster
// by row, but for what the padding takes of the tile.
#include <algorithm>
#include <limits>
#include <utility>

#include "runtime/integer_conv_codes.h"
#include "runtime/integer_layer_packed.h"
#include "runtime/integer_planes.h"
#include "runtime/parallel.h"
#include "runtime/saturating_product.h"
#include "runtime/scratch.h"
#include "runtime/tile_shares.h"

namespace opq {
namespace {

template <typename T, typename Codes>
class IntegerConvLayer final : public IntegerLayer {
 public:
  using Sum = typename Codes::Sum;

  IntegerConvLayer(const Weights& weights, const ConvGeometry& geometry, Codes codes)
      : IntegerLayer(weights),
        geometry_(geometry),
        planes_(geometry),
        rows_(weights.rows / geometry.group),
        depth_(weights.depth),
        block_depth_(Codes::block_depth(geometry)),
        codes_(std::move(codes)) {}

  std::size_t scratch_bytes(const ConvShape& shape, int threads) const override {
    ScratchSize size;
    size.add<float>(static_cast<std::size_t>(planes_.offset_floats(group_channels())));
    size.add<T>(plane_elements(shape));
    for (int i = 0; i < threads; ++i) size.add<std::byte>(thread_bytes());
    return size.bytes();
  }

  void run(const ConvShape& shape, const std::byte* x, const Grid* grids, const IntegerEpilogue& epilogue,
           std::byte* scratch, ThreadPool& pool, const Kernels& kernels) const override {
    Scratch memory(scratch);
    Job job{.shape = shape, .grids = grids, .epilogue = epilogue, .kernels = kernels};
    job.input = reinterpret_cast<const T*>(x);
    job.pixels = shape.out_h * shape.out_w;
    auto* offsets = memory.take<float>(static_cast<std::size_t>(planes_.offset_floats(group_channels())));
    T* planes = memory.take<T>(plane_elements(shape));
    if (reads_input_directly(shape)) {
      job.channel_stride = shape.h * shape.w;
      job.row_stride = shape.w;
    } else {
      job.channel_stride = channel_stride(shape);
      job.row_stride = planes_.row_stride(shape);
      parallel_ranges(pool, shape.n * shape.c, grain_of(job.channel_stride), [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) {
          fill_integer_planes(planes_, shape, job.input + i * shape.h * shape.w,
                              static_cast<T>(grids[i / shape.c].zero), planes + i * job.channel_stride, kernels);
        }
      });
      job.input = planes;
    }
    job.offsets = planes_.write_offsets(shape, group_channels(), job.channel_stride, offsets);
    job.is_by_rows = is_faster_by_rows(job);
    std::byte* own = memory.take<std::byte>(0);
    const int64_t tiles = tile_count(job);
    const bool is_half = tiles > 0 && tile(job, tiles - 1).extent(job.row_stride) <= kHalfTile;
    const Tiles all = {.planes = shape.n * geometry_.group, .in_plane = tiles, .work = 2, .last_work = is_half ? 1 : 2};
    parallel_tiles(pool, all, [&](const TileShare& share, int thread) {
      const int64_t plane = share.tile / tiles, group = plane % geometry_.group;
      const Task task = {.image = plane / geometry_.group,
                         .group = group,
                         .first_row = part_begin(group, share.first, share.of),
                         .last_row = part_begin(group, share.last, share.of),
                         .tile = tile(job, share.tile % tiles)};
      run_task(job, task, own + static_cast<std::size_t>(thread) * (thread_bytes() + kAlignment));
    });
  }

  std::size_t packed_bytes() const override { return codes_.bytes() + code_sums().size() * sizeof(CodeSums); }
  const char* kernel_name() const override { return Codes::name(); }

 private:
  // What all tasks of one run share.
  struct Job {
    const ConvShape& shape;
    const Grid* grids;
    const IntegerEpilogue& epilogue;
    const Kernels& kernels;
    const T* input = nullptr;  // x or the padded planes
    int64_t channel_stride = 0, row_stride = 0;
    const std::ptrdiff_t* offsets = nullptr;  // of k, from the first channel of a group on
    int64_t pixels = 0;
    bool is_by_rows = false;  // a tile is rows of output pixels with the padding between them
  };

  // Output pixels [first, first + pixels). By rows they are `runs` of equal length, whose sums are row_stride apart;
  // their inputs begin at `from`.
  struct Tile {
    int64_t first;
    int pixels;
    int runs = 1;
    int64_t from = 0;

    // Pixels of the panel from the first one to the last.
    int extent(int64_t row_stride) const { return static_cast<int>((runs - 1) * row_stride) + pixels / runs; }
  };

  struct Task {
    int64_t image, group, first_row, last_row;
    Tile tile;
  };

  // In copies of 64 elements per k: what fills the tiles, and what multiplies them, all alike but the last one.
  bool is_faster_by_rows(const Job& job) const {
    const int64_t width = job.shape.out_w;
    if (job.pixels == 0 || width > kByteTile || job.row_stride == width) return false;
    const auto cost_of = [&](bool is_by_rows, double copies) {
      Job by = job;
      by.is_by_rows = is_by_rows;
      const int64_t tiles = tile_count(by);
      const auto work_of = [&](int64_t i) { return Codes::tile_work(tile(by, i).extent(job.row_stride)); };
      const double work = static_cast<double>(tiles - 1) * work_of(0) + work_of(tiles - 1);
      return static_cast<double>(tiles) * copies + codes_.copies_per_k() * work;
    };
    const double runs = double{kByteTile} / static_cast<double>(width);
    return cost_of(true, 1.0) < cost_of(false, 1.0 + Codes::kCopiesPerRun * runs);
  }

  // Rows of output pixels that a tile holds by rows.
  static int64_t rows_per_tile(const Job& job) { return (kByteTile - job.shape.out_w) / job.row_stride + 1; }

  static int64_t tile_count(const Job& job) {
    return job.is_by_rows ? (job.shape.out_h + rows_per_tile(job) - 1) / rows_per_tile(job)
                          : (job.pixels + kByteTile - 1) / kByteTile;
  }

  static Tile tile(const Job& job, int64_t i) {
    const int64_t width = job.shape.out_w;
    if (!job.is_by_rows) {
      const int64_t first = i * kByteTile;
      return {.first = first, .pixels = static_cast<int>(std::min<int64_t>(kByteTile, job.pixels - first))};
    }
    const int64_t row = i * rows_per_tile(job), rows = std::min(rows_per_tile(job), job.shape.out_h - row);
    return {.first = row * width,
            .pixels = static_cast<int>(rows * width),
            .runs = static_cast<int>(rows),
            .from = row * job.row_stride};
  }

  int64_t group_channels() const { return depth_ / planes_.taps(); }
  int64_t depth_blocks() const { return blocks_of(depth_, block_depth_); }
  int64_t depth_of(int64_t block) const { return std::min(block_depth_, depth_ - block * block_depth_); }

  bool reads_input_directly(const ConvShape& shape) const {
    return geometry_.kernel_h == 1 && geometry_.kernel_w == 1 && geometry_.stride_h == 1 && geometry_.stride_w == 1 &&
           shape.pad_top == 0 && shape.pad_left == 0 && shape.out_h == shape.h && shape.out_w == shape.w;
  }

  // Of the planes of two channels: one thread's copies run into the slack, not into the next channel, which may be
  // another thread's.
  int64_t channel_stride(const ConvShape& shape) const {
    return std::min(planes_.channel_floats(shape), std::numeric_limits<int64_t>::max() / 16) + kIntegerSlack;
  }

  std::size_t plane_elements(const ConvShape& shape) const {
    if (reads_input_directly(shape)) return 0;
    const int64_t elements = saturating_product({shape.n, shape.c, channel_stride(shape)});
    return static_cast<std::size_t>(std::min(elements, std::numeric_limits<int64_t>::max() / 16));
  }

  // A panel, and sums of all rows where there are several blocks, of those computed together where there is one.
  std::size_t thread_bytes() const {
    const int64_t rows = depth_blocks() > 1 ? round_up(rows_) : Codes::kRows;
    return align_up(panel_elements() * sizeof(T) + static_cast<std::size_t>(rows) * kByteTile * sizeof(Sum));
  }
  std::size_t panel_elements() const {
    return static_cast<std::size_t>((std::min(depth_, block_depth_) + 3) / 4 * 4 * kByteTile + kIntegerSlack);
  }
  static int64_t round_up(int64_t rows) { return (rows + Codes::kRows - 1) / Codes::kRows * Codes::kRows; }

  // The first of the rows in a part of so many, as even as whole rows are.
  int64_t part_begin(int64_t group, int64_t part, int64_t parts) const {
    if (part == 0) return 0;
    if (part == parts) return rows_;
    const double target =
        static_cast<double>(codes_.cost(group, rows_)) * static_cast<double>(part) / static_cast<double>(parts);
    int64_t first = 0, last = rows_;  // of the least number of rows that cost as much
    while (first < last) {
      const int64_t middle = (first + last) / 2;
      if (static_cast<double>(codes_.cost(group, middle)) < target) {
        first = middle + 1;
      } else {
        last = middle;
      }
    }
    return std::min(rows_, round_up(first));
  }

  void run_task(const Job& job, const Task& task, std::byte* scratch) const {
    if (task.first_row == task.last_row) return;
    T* panel = reinterpret_cast<T*>(scratch);
    Sum* sums = reinterpret_cast<Sum*>(scratch + panel_elements() * sizeof(T));
    IntegerRun runs[kByteTile];
    int chunk = 0;
    const int count = find_runs(job, task.tile, runs, chunk);
    const int64_t blocks = depth_blocks();
    for (int64_t block = 0; block < blocks; ++block) {
      pack(job, task, block, runs, count, chunk, panel);
      const auto multiply = [&](int64_t first, int64_t last, const typename Codes::Output* output) {
        codes_.multiply({task.group, block, first, last, task.tile.extent(job.row_stride)}, panel, sums, output,
                        job.kernels);
      };
      const bool last = block + 1 == blocks;
      if (last && finishes_to_integers<T>(job.epilogue)) {
        const auto output = output_at(job, task, task.first_row);
        multiply(task.first_row, task.last_row, &output);
      } else if (blocks > 1) {
        multiply(task.first_row, task.last_row, nullptr);
        if (last) finish(job, task, sums, task.first_row, task.last_row);
      } else {
        for (int64_t row = task.first_row; row < task.last_row; row += Codes::kRows) {
          const int64_t end = std::min(row + Codes::kRows, task.last_row);
          multiply(row, end, nullptr);
          finish(job, task, sums, row, end);
        }
      }
    }
  }

  // The stretches of a tile's pixels that are neighbours in the input; by rows all is one, padding included.
  // chunk: what the longest of them is copied as.
  static int find_runs(const Job& job, const Tile& tile, IntegerRun* runs, int& chunk) {
    if (job.is_by_rows) {
      runs[0] = {tile.from, 0};
      chunk = kByteTile;
      return 1;
    }
    int count = 0;
    for (int done = 0; done < tile.pixels; ++count) {
      const int64_t pixel = tile.first + done, column = pixel % job.shape.out_w;
      const int64_t left = job.row_stride == job.shape.out_w ? tile.pixels : job.shape.out_w - column;
      const int length = static_cast<int>(std::min<int64_t>(left, tile.pixels - done));
      runs[count] = {pixel / job.shape.out_w * job.row_stride + column, done};
      chunk = std::max(chunk, length);
      done += length;
    }
    return count;
  }

  void pack(const Job& job, const Task& task, int64_t block, const IntegerRun* runs, int count, int chunk,
            T* panel) const {
    // The first input channel of the task's image and group.
    const T* x = job.input + (task.image * job.shape.c + task.group * group_channels()) * job.channel_stride;
    Codes::pack(x, job.offsets + block * block_depth_, static_cast<int>(depth_of(block)), runs, count, chunk, panel,
                job.kernels);
  }

  typename Codes::Output output_at(const Job& job, const Task& task, int64_t row) const {
    const int64_t m = task.group * rows_ + row;
    auto output = integer_output<T>(job.epilogue, m, offset_of(job, task, m), job.grids[task.image]);
    output.stride = job.pixels;
    output.n = task.tile.pixels;
    output.runs = task.tile.runs;
    output.length = task.tile.pixels / task.tile.runs;
    output.step = static_cast<int>(job.row_stride);
    return output;
  }

  // Rows [first, last) in float32, from sums[row - first][64].
  void finish(const Job& job, const Task& task, const Sum* sums, int64_t first, int64_t last) const {
    const IntegerEpilogue& e = job.epilogue;
    const Grid& grid = job.grids[task.image];
    for (int64_t row = first; row < last; ++row, sums += kByteTile) {
      const int64_t m = task.group * rows_ + row;
      const auto offset = static_cast<std::size_t>(offset_of(job, task, m));
      alignas(64) float floats[kByteTile] = {};
      const int extent = task.tile.extent(job.row_stride);  // the sums behind it are whatever they were
      to_floats(sums, grid, code_sums()[static_cast<std::size_t>(m)], floats, extent, job.kernels);
      const int length = task.tile.pixels / task.tile.runs;
      for (int i = 1; i < task.tile.runs; ++i) {
        std::copy_n(floats + i * job.row_stride, length, floats + i * length);  // to a lower place
      }
      finish_floats<T>(e, m, grid.scale, floats, e.residual ? e.residual + offset * residual_size<T>(e) : nullptr,
                       e.y + offset * y_size<T>(e), task.tile.pixels, job.kernels);
    }
  }

  // Of the task's first pixel in channel m of the output.
  static int64_t offset_of(const Job& job, const Task& task, int64_t m) {
    return (task.image * job.shape.m + m) * job.pixels + task.tile.first;
  }

  ConvGeometry geometry_;
  InputPlanes planes_;
  int64_t rows_, depth_, block_depth_;  // rows per group; k in all, in a block
  Codes codes_;
};

}  // namespace

std::unique_ptr<IntegerLayer> pack_integer_conv(const Weights& weights, const ConvGeometry& geometry,
                                                Precision precision, KernelKind kind, bool has_dot_products) {
  const auto layer_of = [&]<typename T, typename Codes>(T, Codes codes) -> std::unique_ptr<IntegerLayer> {
    return std::make_unique<IntegerConvLayer<T, Codes>>(weights, geometry, std::move(codes));
  };
  if (precision == Precision::kInt16) return layer_of(int16_t{}, PairCodes<int16_t>(weights, geometry));
  if (kind == KernelKind::kDense) return layer_of(uint8_t{}, QuadCodes(weights, geometry, has_dot_products));
  return layer_of(uint8_t{}, PairCodes<uint8_t>(weights, geometry));
}

int64_t most_integer_conv_bytes(const Weights& weights, const ConvGeometry& geometry, KernelKind kind,
                                bool has_dot_products) {
  const int64_t blocks = blocks_of(weights.depth, kWordDepth);  // the most
  return kind == KernelKind::kDense ? QuadCodes::most_bytes(weights, geometry.group, has_dot_products)
                                    : CodePairs::most_bytes(weights.rows * blocks, weights.rows * weights.depth);
}

}  // namespace opq
