// Tiles of equal work, in the same share for every thread: whole tiles, and parts of those that lie across two shares.
// So a thread reads again in one layer what it has written of the same pixels in the layer before.
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

// Calls body(share, thread) for shares that together are all tiles.
template <typename Body>
void parallel_tiles(ThreadPool& pool, int64_t tiles, const Body& body) {
  const int64_t threads = pool.threads();
  const int64_t most = (tiles + threads - 1) / threads + 1;  // tiles that a share has a part of
  // In units of a tile's part: tile i is [i * threads, (i + 1) * threads), share i is [i * tiles, (i + 1) * tiles).
  parallel_ranges(pool, threads * most, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t share = i / most, tile = share * tiles / threads + i % most, start = tile * threads;
      const int64_t first = std::max(share * tiles, start) - start;
      const int64_t last = std::min((share + 1) * tiles, start + threads) - start;
      if (first < last) body(TileShare{tile, first, last, threads}, thread);
    }
  });
}

}  // namespace opq
