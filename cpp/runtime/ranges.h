// The section ACTV: ranges on which a session of integer precision holds activations. See docs/format.md.
#pragma once

#include <vector>

#include "runtime/graph.h"

namespace opq {

struct Range {
  int value;
  float lo, hi;  // lo <= 0 <= hi, lo < hi, finite
};

// Throws Error(kFormat) for whatever docs/format.md does not allow.
std::vector<Range> parse_ranges(Bytes section, const Graph& graph);

}  // namespace opq
