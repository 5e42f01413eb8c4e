// Copies the inputs of one tile of pixels next to each other: panel[k][0..56) = runs of the source row at x +
// offsets[k].
//
//   panel  k = 0:  run 0 . . . | run 1 . . . | run 2 . .     a run is a stretch of one row of output pixels
//          k = 1:  ...
//
// A run is copied by whole vectors; what it writes too far is overwritten by the next run or the next row.
#pragma once

#include "kernels/kernels.h"
#include "kernels/unroll-inl.h"

namespace opq {

// The whole tile is one run.
template <class V, int... P>
void pack_whole_rows(Seq<P...>, const float* x, const std::ptrdiff_t* offsets, int depth, float* panel) {
  for (int k = 0; k < depth; ++k, panel += kTile) {
    const float* src = x + offsets[k];
    (V::load(src + kVector * P).store(panel + kVector * P), ...);
  }
}

template <class V>
void pack_panel(const float* x, const std::ptrdiff_t* offsets, int depth, const PanelRun* runs, int count,
                float* panel) {
  if (count == 1 && runs[0].vectors == 7) return pack_whole_rows<V>(SeqTo<7>(), x + runs[0].src, offsets, depth, panel);
  for (int k = 0; k < depth; ++k, panel += kTile) {
    for (const PanelRun* run = runs; run != runs + count; ++run) {
      const float* src = x + offsets[k] + run->src;
      float* dst = panel + run->dst;
      for (int v = 0; v < run->vectors; ++v) V::load(src + kVector * v).store(dst + kVector * v);
    }
  }
}

}  // namespace opq
