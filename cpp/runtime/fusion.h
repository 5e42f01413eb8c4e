// Which nodes are computed in one pass: a residual Add and an activation behind a Conv or Linear, an activation behind
// an Add.
#pragma once

#include "runtime/step.h"

namespace opq {

// The steps in the order of execution. Views have none. Without `fuse`, one step per node.
// A value is never written to memory only if a single node reads it and it is not a graph output.
std::vector<FusedNode> fuse_nodes(const Network& network, const std::vector<Shape>& shapes, bool fuse);

}  // namespace opq
