// The shape of a Conv or Linear node as its packed layer sees it.
#pragma once

#include "runtime/step.h"

namespace opq {

// Of a Linear, or a Conv that was packed as one: n rows of c inputs, one pixel. Throws Error where the layer cannot run
// on such inputs.
ConvShape layer_shape(const StepSource& source);

}  // namespace opq
