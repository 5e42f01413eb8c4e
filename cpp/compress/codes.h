// Codes from weights, and what they lose. Mirrors src/opq/reference/passes/codes.py.
#pragma once

#include "compress/magnitudes.h"

namespace opq::compress {

// codes[i] = sign(w) clip(rint(m / step), 1, levels) where m > float32(threshold), or w != 0 with a threshold of 0;
// else 0. step > 0, levels 1..127.
void nearest_codes(ThreadPool& pool, const Magnitudes& m, double threshold, float step, int levels, int8_t* codes);

struct SquaredError {
  double error = 0.0;   // sum of (m - step |code|)^2
  double energy = 0.0;  // sum of m^2
};

SquaredError squared_error(ThreadPool& pool, const Magnitudes& m, const int8_t* codes, float step);

}  // namespace opq::compress
