// The kernels for x86-64 with AVX2, FMA and F16C. Compiled with -mavx2 -mfma -mf16c, so it includes no header with
// inline functions that another file could share.
#include "kernels/table-inl.h"
#include "kernels/tables.h"
#include "simd/vec_avx2.h"

namespace opq {

constinit const Kernels avx2_kernels = make_kernels<F32>("avx2");

}  // namespace opq
