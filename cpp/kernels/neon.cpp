// The kernels for 64-bit ARM. NEON is part of the architecture: the flags in CMakeLists.txt are for speed only.
#include "kernels/table-inl.h"
#include "kernels/tables.h"
#include "simd/integers_neon.h"
#include "simd/sums_neon.h"
#include "simd/vec_neon.h"

namespace opq {

constinit const Kernels neon_kernels = make_kernels<F32, S16, P16, S32, C32, N16, Q32>("neon");

}  // namespace opq
