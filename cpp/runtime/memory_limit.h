// How much memory a run may take.
#pragma once

namespace opq {

// Throws Error(kInput) if a run with `threads` would take `needed` bytes for activations and results: more than the
// machine has, or far more than `given` bytes of file and inputs explain. Doubles, as sums of sizes from a file can
// exceed every integer.
void check_memory(double needed, double given, int threads);

}  // namespace opq
