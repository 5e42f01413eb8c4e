// Which values a session of integer precision holds as integers, and on which grids.
#pragma once

#include <optional>
#include <vector>

#include "runtime/grid.h"
#include "runtime/step.h"

namespace opq {

// By value. Values that have a range are held on its grid; a maximum, a clamp without a range of its own, a view and a
// transposition of a value that is held, on that value's grid; all else is float32. None is with float32.
std::vector<std::optional<Grid>> hold_values(const Network& network, const std::vector<FusedNode>& steps);

}  // namespace opq
