// The most products per second that a thread of this machine reaches with these kernels: what a layer's speed is a
// share of.
#pragma once

#include "kernels/kernels.h"
#include "runtime/grid.h"

namespace opq {

// Measured in some milliseconds: the dense kernel of float32 and of 8 bits, the sparse one of 16 bits, which has no
// dense one, with all operands in the L1 cache.
double peak_products_per_second(Precision precision, const Kernels& kernels);

}  // namespace opq
