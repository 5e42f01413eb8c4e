#include "runtime/conv_layer_tiled.h"

#include <algorithm>
#include <limits>

#include "runtime/parallel.h"
#include "runtime/saturating_product.h"
#include "runtime/tile_shares.h"

namespace opq {
namespace {

constexpr int64_t kCacheLineFloats = 16;
constexpr int64_t kRowsAtOnce = 512;  // rows of acc: 112 KiB, a part of the L2 cache

int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

float* align_to_cache_line(float* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  return p + (round_up(static_cast<int64_t>(address), 64) - static_cast<int64_t>(address)) / sizeof(float);
}

}  // namespace

// What all tasks of one run share.
struct TiledConvLayer::Job {
  const ConvShape& shape;
  const Epilogue& epilogue;
  const Kernels& kernels;
  float* y;
  const float* input = nullptr;                // x or the padded planes
  int64_t input_floats = 0;                    // that may be read
  int64_t channel_stride = 0, row_stride = 0;  // in input; between two rows of output pixels
  const std::ptrdiff_t* offsets = nullptr;     // of k, from the first channel of a group on
  int64_t pixels = 0;
};

struct TiledConvLayer::Task {
  int64_t image, group, first_group, last_group, first_pixel;
  int pixels;
};

TiledConvLayer::TiledConvLayer(const Weights& weights, const ConvGeometry& geometry, int group_rows)
    : geometry_(geometry),
      planes_(geometry),
      group_rows_(group_rows),
      rows_(weights.rows / geometry.group),
      depth_(weights.depth),
      nonzeros_(weights.statistics->nonzeros) {}

int64_t TiledConvLayer::cost_bytes(const Weights& weights, const ConvGeometry& geometry, int group_rows) {
  const int64_t row_groups = (weights.rows / geometry.group + group_rows - 1) / group_rows;
  return geometry.group * (2 * row_groups + 1) * static_cast<int64_t>(sizeof(int64_t));
}

int64_t TiledConvLayer::groups_at_once() const {
  return std::clamp<int64_t>(kRowsAtOnce / group_rows_, 1, row_groups());
}

int TiledConvLayer::rows_of(int64_t row_group) const {
  return static_cast<int>(std::min<int64_t>(group_rows_, rows_ - row_group * group_rows_));
}

int TiledConvLayer::depth_of(int64_t depth_block) const {
  return static_cast<int>(std::min<int64_t>(kDepthBlock, depth_ - depth_block * kDepthBlock));
}

int64_t TiledConvLayer::flat_index(const BlockIndex& block) const {
  return (block.group * depth_blocks() + block.depth_block) * row_groups() + block.row_group;
}

void TiledConvLayer::set_costs(const std::vector<int64_t>& costs) {
  cost_sums_.reserve(groups() * (row_groups() + 1));
  for (int64_t group = 0; group < groups(); ++group) {
    int64_t sum = 0;
    cost_sums_.push_back(sum);
    for (int64_t i = 0; i < row_groups(); ++i) cost_sums_.push_back(sum += costs[group * row_groups() + i]);
  }
}

bool TiledConvLayer::reads_input_directly(const ConvShape& shape) const {
  return geometry_.kernel_h == 1 && geometry_.kernel_w == 1 && geometry_.stride_h == 1 && geometry_.stride_w == 1 &&
         shape.pad_top == 0 && shape.pad_left == 0 && shape.out_h == shape.h && shape.out_w == shape.w;
}

std::size_t TiledConvLayer::thread_floats() const {
  return round_up(kDepthBlock * kTile + kVector + acc_floats(), kCacheLineFloats);
}

std::size_t TiledConvLayer::scratch_floats(const ConvShape& shape, int threads) const {
  int64_t planes = 0;
  if (!reads_input_directly(shape)) {
    planes = saturating_product({shape.n, shape.c, planes_.channel_floats(shape)});
    if (planes > std::numeric_limits<int64_t>::max() / 4) return std::numeric_limits<std::size_t>::max();
    planes += kTile + kCacheLineFloats;
  }
  return planes_.offset_floats(group_channels()) + planes + 3 * kCacheLineFloats + thread_floats() * threads;
}

int64_t TiledConvLayer::part_begin(int64_t group, int64_t part, int64_t parts) const {
  const auto sums = cost_sums_.begin() + group * (row_groups() + 1), end = sums + row_groups();
  if (part == 0) return 0;
  if (part == parts) return row_groups();
  const double target = static_cast<double>(*end) * static_cast<double>(part) / static_cast<double>(parts);
  return std::lower_bound(sums, end, static_cast<int64_t>(target)) - sums;
}

void TiledConvLayer::run(const ConvShape& shape, const float* x, float* y, const Epilogue& epilogue, float* scratch,
                         ThreadPool& pool, const Kernels& kernels) const {
  Job job{.shape = shape, .epilogue = epilogue, .kernels = kernels, .y = y};
  job.pixels = shape.out_h * shape.out_w;
  scratch = align_to_cache_line(scratch);
  const bool is_direct = reads_input_directly(shape);
  job.channel_stride = is_direct ? shape.h * shape.w : planes_.channel_floats(shape);
  job.row_stride = is_direct ? shape.w : planes_.row_stride(shape);
  job.offsets = planes_.write_offsets(shape, group_channels(), job.channel_stride, scratch);
  scratch = align_to_cache_line(scratch);
  if (is_direct) {
    job.input = x;
    job.input_floats = shape.n * shape.c * job.channel_stride;
  } else {
    float* planes = scratch;
    job.input = planes;
    const int64_t floats = shape.n * shape.c * job.channel_stride;
    job.input_floats = floats + kTile;
    parallel_ranges(pool, shape.n * shape.c, grain_of(job.channel_stride), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i)
        planes_.fill(shape, x + i * shape.h * shape.w, planes + i * job.channel_stride, kernels);
    });
    std::fill_n(planes + floats, kTile, 0.0f);
    scratch += round_up(job.input_floats, kCacheLineFloats);
  }
  // As few tiles as possible, of as even a width as whole vectors allow.
  const int64_t vectors = (job.pixels + kVector - 1) / kVector, tiles = (job.pixels + kTile - 1) / kTile;
  const auto start_of = [&](int64_t tile) { return std::min(tile * vectors / tiles * kVector, job.pixels); };
  parallel_tiles(pool, {.planes = shape.n * groups(), .in_plane = tiles}, [&](const TileShare& share, int thread) {
    const int64_t plane = share.tile / tiles, group = plane % groups(), tile = share.tile % tiles;
    const int64_t last = part_begin(group, share.last, share.of);
    for (int64_t first = part_begin(group, share.first, share.of); first < last; first += groups_at_once()) {
      run_task(job,
               {.image = plane / groups(),
                .group = group,
                .first_group = first,
                .last_group = std::min(first + groups_at_once(), last),
                .first_pixel = start_of(tile),
                .pixels = static_cast<int>(start_of(tile + 1) - start_of(tile))},
               scratch + thread * thread_floats());
    }
  });
}

void TiledConvLayer::run_task(const Job& job, const Task& task, float* scratch) const {
  float* panel = scratch;
  float* acc = panel + kDepthBlock * kTile + kVector;
  const int vectors = (task.pixels + kVector - 1) / kVector;

  PanelRun runs[kTile];
  int count = 0;
  if (job.row_stride == job.shape.out_w) {
    runs[count++] = {task.first_pixel, 0, vectors};
  } else {
    for (int done = 0; done < task.pixels;) {
      const int64_t row = (task.first_pixel + done) / job.shape.out_w,
                    column = (task.first_pixel + done) % job.shape.out_w;
      const int length = static_cast<int>(std::min<int64_t>(job.shape.out_w - column, task.pixels - done));
      runs[count++] = {row * job.row_stride + column, done, (length + kVector - 1) / kVector};
      done += length;
    }
  }

  const int64_t blocks = std::max<int64_t>(1, depth_blocks());
  for (int64_t block = 0; block < blocks; ++block) {
    pack(job, task, block, runs, count, panel);
    for (int64_t i = task.first_group; i < task.last_group; ++i) {
      // One block alone leaves nothing to keep: the same rows of acc, in the L1 cache, serve all groups.
      float* sums = acc + (blocks == 1 ? 0 : (i - task.first_group) * group_rows_ * kTile);
      const BlockIndex index = {task.group, block, i};
      if (block + 1 < blocks) {
        multiply(index, panel, sums, vectors, nullptr, job.kernels);
        continue;
      }
      const int64_t m = task.group * rows_ + i * group_rows_;
      const int64_t offset = (task.image * job.shape.m + m) * job.pixels + task.first_pixel;
      const Epilogue& e = job.epilogue;
      const RowOutput output = {.scale = e.scale ? e.scale + m : nullptr,
                                .bias = e.bias ? e.bias + m : nullptr,
                                .residual = e.residual ? e.residual + offset : nullptr,
                                .stride = job.pixels,
                                .act = &e.act,
                                .y = job.y + offset,
                                .n = task.pixels};
      multiply(index, panel, sums, vectors, &output, job.kernels);
    }
  }
}

void TiledConvLayer::pack(const Job& job, const Task& task, int64_t depth_block, const PanelRun* runs, int count,
                          float* panel) const {
  const int depth = depth_of(depth_block);
  const std::ptrdiff_t* offsets = job.offsets + depth_block * kDepthBlock;
  const int64_t first_channel = (task.image * job.shape.c + task.group * group_channels()) * job.channel_stride;
  const float* input = job.input + first_channel;
  // Whole vectors read up to 7 floats too many: not behind the end of x.
  const PanelRun& last = runs[count - 1];
  const int64_t reach = last.src + int64_t{kVector} * last.vectors;
  int safe = depth;
  while (safe > 0 && first_channel + offsets[safe - 1] + reach > job.input_floats) --safe;
  job.kernels.pack_panel(input, offsets, safe, runs, count, panel);
  for (int i = safe; i < depth; ++i) std::copy_n(input + offsets[i] + runs[0].src, task.pixels, panel + i * kTile);
}

}  // namespace opq
