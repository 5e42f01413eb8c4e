// Where a set multiplies signed bytes alone, its interleave takes Q::kTaken from every x of a panel. What the sums of
// products then lack is a number for each row, whatever the pixels are:
//
//   sum of code * x = sum of code * (x - taken) + taken * (sum of codes)
//
// Elsewhere, without Q::kTaken, nothing is taken, and nothing of this compiled: not even as an argument, which could
// change what g++ inlines.
#pragma once

#include "kernels/kernels.h"

namespace opq {

template <class Q>
constexpr bool kIsCompensated = requires { Q::kTaken; };

// Whether a block is the first one; and what four rows' sums lack of this block.
template <class Q>
struct CompensatedBlock {
  bool first;
  int32_t rows[4];

  // codes: [quads][4 rows][4]
  CompensatedBlock(bool is_first, const int8_t* codes, int quads) : first(is_first) {
    Q::sum_codes(codes, quads, rows);
    for (int32_t& row : rows) row *= Q::kTaken;
  }
  Q begin(int row, const int32_t* sums) const { return (first ? Q::zero() : Q::load(sums)).plus(rows[row]); }
};

template <class Q, bool = kIsCompensated<Q>>
struct FirstOf {
  using Type = bool;
};
template <class Q>
struct FirstOf<Q, true> {
  using Type = CompensatedBlock<Q>;
};
template <class Q>
using First = typename FirstOf<Q>::Type;

template <class Q>
[[gnu::always_inline]] inline First<Q> first_of(bool first, const int8_t* codes, int quads) {
  if constexpr (kIsCompensated<Q>) {
    return {first, codes, quads};
  } else {
    return first;
  }
}

}  // namespace opq
