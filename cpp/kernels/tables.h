// The tables that exist in this build. Using avx2_kernels needs AVX2 and FMA.
#pragma once

#include "kernels/kernels.h"

namespace opq {

extern const Kernels scalar_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels;
#endif

}  // namespace opq
