// Preloaded by without_avx512.py: answers the cpuid instructions that hidden_cpuid.py made invalid, without the
// features beyond AVX2, so that a library chooses the kernels it has for a processor that lacks them.
//
// 27 A2 stands where 0F A2 was. 27 is no instruction in 64-bit mode, and no compiler writes it, as it may write ud2 for
// code that is never reached: whatever else raises SIGILL is a true crash and stays one.

#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define BIT(n) (1u << (n))

// Leaf 7, subleaf 0.
static const uint32_t kHiddenEbx = BIT(16)     // avx512f
                                   | BIT(17)   // avx512dq
                                   | BIT(21)   // avx512ifma
                                   | BIT(26)   // avx512pf
                                   | BIT(27)   // avx512er
                                   | BIT(28)   // avx512cd
                                   | BIT(30)   // avx512bw
                                   | BIT(31);  // avx512vl
static const uint32_t kHiddenEcx = BIT(1)      // avx512vbmi
                                   | BIT(6)    // avx512vbmi2
                                   | BIT(11)   // avx512vnni
                                   | BIT(12)   // avx512bitalg
                                   | BIT(14);  // avx512vpopcntdq
static const uint32_t kHiddenEdx = BIT(2)      // avx5124vnniw
                                   | BIT(3)    // avx5124fmaps
                                   | BIT(8)    // avx512vp2intersect
                                   | BIT(22)   // amx-bf16
                                   | BIT(23)   // avx512fp16
                                   | BIT(24)   // amx-tile
                                   | BIT(25);  // amx-int8
// Leaf 7, subleaf 1.
static const uint32_t kHiddenEax1 = BIT(4)      // avx-vnni
                                    | BIT(5)    // avx512bf16
                                    | BIT(21)   // amx-fp16
                                    | BIT(23);  // avx-ifma
static const uint32_t kHiddenEdx1 = BIT(4)      // avx-vnni-int8
                                    | BIT(5)    // avx-ne-convert
                                    | BIT(8)    // amx-complex
                                    | BIT(10)   // avx-vnni-int16
                                    | BIT(19);  // avx10

static unsigned long answers;

// How many instructions were answered in this process: the check asks whether an engine's own are among them.
unsigned long hidden_cpuid_answers(void) { return __atomic_load_n(&answers, __ATOMIC_RELAXED); }

// glibc's own name of sigaction.
int __sigaction(int number, const struct sigaction* action, struct sigaction* before);

static struct sigaction of_others;  // what an engine wants done at a crash; zero: the default

// DeepSparse has a handler for crashes, which must not take the place of the one below.
int sigaction(int number, const struct sigaction* action, struct sigaction* before) {
  if (number != SIGILL) return __sigaction(number, action, before);
  const struct sigaction last = of_others;
  if (action) of_others = *action;
  if (before) *before = last;
  return 0;
}

static void on_illegal_instruction(int number, siginfo_t* info, void* context) {
  greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  const unsigned char* code = (const unsigned char*)registers[REG_RIP];
  if (code[0] != 0x27 || code[1] != 0xA2) {
    __sigaction(number, &of_others, 0);
    if (info->si_code <= 0) raise(number);  // sent by a process; an instruction is run again, and fails again
    return;
  }
  const uint32_t leaf = (uint32_t)registers[REG_RAX], subleaf = (uint32_t)registers[REG_RCX];
  uint32_t eax, ebx, ecx, edx;
  __cpuid_count(leaf, subleaf, eax, ebx, ecx, edx);
  if (leaf == 7 && subleaf == 0) {
    ebx &= ~kHiddenEbx;
    ecx &= ~kHiddenEcx;
    edx &= ~kHiddenEdx;
  } else if (leaf == 7 && subleaf == 1) {
    eax &= ~kHiddenEax1;
    edx &= ~kHiddenEdx1;
  }
  registers[REG_RAX] = eax;
  registers[REG_RBX] = ebx;
  registers[REG_RCX] = ecx;
  registers[REG_RDX] = edx;
  registers[REG_RIP] += 2;
  __atomic_add_fetch(&answers, 1, __ATOMIC_RELAXED);
}

__attribute__((constructor)) static void install(void) {
  struct sigaction action = {.sa_sigaction = on_illegal_instruction, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  __sigaction(SIGILL, &action, 0);
}

// DeepSparse reads the features in a text as well: HIDDEN_CPUINFO is a file with fewer.
FILE* fopen64(const char* path, const char* mode) {
  FILE* (*next)(const char*, const char*) = (FILE * (*)(const char*, const char*)) dlsym(RTLD_NEXT, "fopen64");
  const char* other = path && strcmp(path, "/proc/cpuinfo") == 0 ? getenv("HIDDEN_CPUINFO") : 0;
  return next(other ? other : path, mode);
}

FILE* fopen(const char* path, const char* mode) { return fopen64(path, mode); }
