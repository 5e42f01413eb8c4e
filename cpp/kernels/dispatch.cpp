// Which sets of kernels this machine can run, best first.
#include <string_view>

#include "kernels/tables.h"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace opq {
namespace {

#if defined(__x86_64__)
// These also tell whether the operating system saves the registers: __builtin_cpu_supports asks XGETBV.
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool has_vnni() { return __builtin_cpu_supports("avx512vnni"); }
#elif defined(__aarch64__) && defined(__linux__)
bool has_dot_products() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#elif defined(__aarch64__) && defined(__APPLE__)
bool has_dot_products() {
  int has = 0;
  std::size_t size = sizeof has;
  return sysctlbyname("hw.optional.arm.FEAT_DotProd", &has, &size, nullptr, 0) == 0 && has != 0;
}
#elif defined(__aarch64__)
bool has_dot_products() { return false; }  // nobody to ask
#endif

struct Supported {
  const Kernels* sets[4];
  int count = 0;

  Supported() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (has_avx2() && has_avx512() && has_vnni()) sets[count++] = &avx512vnni_kernels;
    if (has_avx2() && has_avx512()) sets[count++] = &avx512_kernels;
    if (has_avx2()) sets[count++] = &avx2_kernels;
#elif defined(__aarch64__)
    if (has_dot_products()) sets[count++] = &neondot_kernels;
    sets[count++] = &neon_kernels;  // every 64-bit ARM has it
#endif
    sets[count++] = &scalar_kernels;
  }
};

}  // namespace

KernelList supported_kernels() {
  static const Supported supported;
  return {supported.sets, supported.count};
}

const Kernels* find_kernels(const char* name) {
  const KernelList list = supported_kernels();
  for (int i = 0; i < list.count; ++i) {
    if (std::string_view(list.sets[i]->name) == name) return list.sets[i];
  }
  return nullptr;
}

}  // namespace opq
