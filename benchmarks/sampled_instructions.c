// Where a process spends its time, by the encoding of the instruction it is at: 62 begins those of AVX-512 (EVEX), C4
// and C5 those of AVX and AVX2 (VEX). Machine code that an engine makes while it runs is seen as well.

#define _GNU_SOURCE
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

static volatile unsigned long counts[2];

static void on_tick(int number, siginfo_t* info, void* context) {
  (void)number, (void)info;
  const unsigned char* code = (const unsigned char*)((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
  if (*code == 0x62) ++counts[0];
  if (*code == 0xC4 || *code == 0xC5) ++counts[1];
}

// Samples every millisecond of processor time, or every tick of the system's clock, whichever is longer; 0 ends it.
static void every(long microseconds) {
  const struct itimerval timer = {{0, microseconds}, {0, microseconds}};
  setitimer(ITIMER_PROF, &timer, 0);
}

void start_sampling(void) {
  struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
  counts[0] = counts[1] = 0;
  sigaction(SIGPROF, &action, 0);
  every(1000);
}

void stop_sampling(void) { every(0); }

unsigned long evex_samples(void) { return counts[0]; }

unsigned long vex_samples(void) { return counts[1]; }
