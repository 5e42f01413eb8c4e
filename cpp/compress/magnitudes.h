// What the passes look at: the magnitudes m = |w| / scale[channel] of a layer, made block by block and never stored.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "compress/lane_sum.h"

namespace opq::compress {

// weights [rows, length] in C order, scale [channels]; row r belongs to channel r % channels. So a channel axis may
// have others before it. A layer without channel scales has one, which is 1: the division changes nothing.
struct Magnitudes {
  const float* weights;
  int64_t rows, length;
  const float* scale;
  int64_t channels;

  int64_t size() const { return rows * length; }

  // m[begin] .. m[begin + count - 1] in C order -> out
  void read(int64_t begin, int64_t count, float* out) const {
    const float* w = weights + begin;
    int64_t channel = begin / length % channels;
    int64_t left = length - begin % length;  // of the row
    while (count > 0) {
      const int64_t n = std::min(count, left);
      const float divisor = scale[channel];
      for (int64_t i = 0; i < n; ++i) out[i] = std::fabs(w[i]) / divisor;
      w += n;
      out += n;
      count -= n;
      left = length;
      if (++channel == channels) channel = 0;
    }
  }
};

// A parallel version of
//   for (int64_t block = 0; block < blocks_of(m.size()); ++block) body(block, begin, count, values, thread);
// where values are m[begin] .. m[begin + count - 1], and begin = block * size. A block has `size` <= kBlock of them,
// the last one those that are left.
template <typename Body>
void for_each_block(ThreadPool& pool, const Magnitudes& m, int64_t size, const Body& body) {
  const int64_t blocks = (m.size() + size - 1) / size;
  parallel_ranges(pool, blocks, grain_of(size), [&](int64_t first, int64_t last, int thread) {
    float values[kBlock];
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * size;
      const int64_t count = std::min(size, m.size() - begin);
      m.read(begin, count, values);
      body(block, begin, count, values, thread);
    }
  });
}

}  // namespace opq::compress
