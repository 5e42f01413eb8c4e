// The kernels for x86-64 with AVX-512 (F, BW, DQ, VL). Compiled for it, so it includes no header with inline functions
// that another file could share.
#include "kernels/table-inl.h"
#include "kernels/tables.h"
#include "simd/integers_256.h"
#include "simd/sums_avx512.h"
#include "simd/vec_avx512.h"

namespace opq {

constinit const Kernels avx512_kernels = make_kernels<F32, S16, P16, S32, C32, N16, Q32>("avx512");

}  // namespace opq
