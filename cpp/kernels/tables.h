// The tables that exist in this build. Using one needs a machine that has its instructions (dispatch.cpp).
#pragma once

#include "kernels/kernels.h"

namespace opq {

extern const Kernels scalar_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
extern const Kernels avx512vnni_kernels;
#elif defined(__aarch64__)
extern const Kernels neon_kernels;
extern const Kernels neondot_kernels;
#endif

}  // namespace opq
