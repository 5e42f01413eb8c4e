// Tiles in equal shares of work, the same for every thread in layer after layer: whole tiles, and parts of those that
// lie across two shares. So a thread reads again in one layer what it has written of the same pixels in the layer
// before.
//
//   3 threads, 4 tiles   |0      |1      |2      |3      |
//   shares               |0        |1         |2         |        tasks: 0 and a third of 1; two thirds of 1 and of 2;
//   ...
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/parallel.h"

namespace opq {

// [first, last) of `of` equal parts of a tile's work.
struct TileShare {
  int64_t tile, first, last, of;
};

// The tiles of some planes, counted through all of them, at least one in each. The last of a plane may be less work.
struct Tiles {
  int64_t planes, in_plane;
  int64_t work = 1, last_work = 1;  // of a tile; of the last one

  int64_t plane_work() const { return (in_plane - 1) * work + last_work; }
  // The tile that holds this unit of work.
  int64_t tile_at(int64_t unit) const {
    return unit / plane_work() * in_plane + std::min(unit % plane_work() / work, in_plane - 1);
  }
  int64_t begin(int64_t tile) const { return tile / in_plane * plane_work() + tile % in_plane * work; }
  int64_t work_of(int64_t tile) const { return (tile + 1) % in_plane == 0 ? last_work : work; }
};

// Calls body(share, thread) for shares that together are all tiles.
template <typename Body>
void parallel_tiles(ThreadPool& pool, const Tiles& tiles, const Body& body) {
  const int64_t threads = pool.threads(), total = tiles.planes * tiles.plane_work();
  if (total == 0) return;
  // In units of a part of work: share i is [i * total, (i + 1) * total), a unit of work has `threads`.
  const auto first_tile = [&](int64_t share) { return tiles.tile_at(share * total / threads); };
  int64_t most = 1;  // tiles that a share has a part of
  for (int64_t share = 0; share < threads; ++share) {
    most = std::max(most, tiles.tile_at(((share + 1) * total - 1) / threads) - first_tile(share) + 1);
  }
  parallel_ranges(pool, threads * most, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t share = i / most, tile = first_tile(share) + i % most;
      if (tile >= tiles.planes * tiles.in_plane) continue;
      const int64_t start = tiles.begin(tile) * threads, parts = tiles.work_of(tile) * threads;
      const int64_t first = std::max(share * total, start) - start;
      const int64_t last = std::min((share + 1) * total, start + parts) - start;
      if (first < last) body(TileShare{tile, first, last, parts}, thread);
    }
  });
}

}  // namespace opq
