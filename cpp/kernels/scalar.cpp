// The kernels in plain C++: for machines without a faster set, and the yardstick of the others' bits.
#include "kernels/table-inl.h"
#include "kernels/tables.h"
#include "simd/integers_scalar.h"
#include "simd/sums_scalar.h"
#include "simd/vec_scalar.h"

namespace opq {

constinit const Kernels scalar_kernels = make_kernels<F32, S16, P16, S32, C32, N16, Q32>("scalar");

}  // namespace opq
