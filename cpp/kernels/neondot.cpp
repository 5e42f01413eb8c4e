// The kernels for 64-bit ARM with dot products of bytes, of ARMv8.2. Compiled for it, so it includes no header with
// inline functions that another file could share.
#include "kernels/table-inl.h"
#include "kernels/tables.h"
#include "simd/integers_neon.h"
#include "simd/sums_neon.h"
#include "simd/vec_neon.h"

namespace opq {

constinit const Kernels neondot_kernels = make_kernels<F32, S16, P16, S32, C32, N16, Q32>("neondot");

}  // namespace opq
