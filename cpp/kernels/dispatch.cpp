// Which sets of kernels this machine can run, best first.
#include <string_view>

#include "kernels/tables.h"

namespace opq {
namespace {

struct Supported {
  const Kernels* sets[2];
  int count = 0;

  Supported() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets[count++] = &avx2_kernels;
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
