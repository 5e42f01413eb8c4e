// Whether a batch can be run image by image.
#pragma once

#include <vector>

#include "runtime/graph.h"

namespace opq {

// True if every value that depends on the inputs is one part per image, one behind the other along the first dimension,
// and each part follows from the same image's parts of other values alone. Shapes by value: `one` for a single image,
// `all` for several.
bool are_images_apart(const Graph& graph, const std::vector<Shape>& one, const std::vector<Shape>& all);

}  // namespace opq
