// The kernels for x86-64 with AVX2 and FMA. Compiled with -mavx2 -mfma, so it includes no header with inline functions
// that another file could share.
#include "kernels/table-inl.h"
#include "kernels/tables.h"
#include "simd/integers_256.h"
#include "simd/sums_avx2.h"
#include "simd/vec_avx2.h"

namespace opq {

constinit const Kernels avx2_kernels = make_kernels<F32, S16, P16, S32, C32, N16, Q32>("avx2");

}  // namespace opq
