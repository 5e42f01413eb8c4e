// What the allocation wants to know of a layer. Mirrors src/opq/reference/passes/statistics.py.
#pragma once

#include <vector>

#include "compress/magnitudes.h"

namespace opq::compress {

bool all_finite(ThreadPool& pool, const float* values, int64_t count);

// energy[row] = sum of w^2 over a row of weights [rows, length]. Returns whether all |w| of a row are equal, in every
// row.
bool channel_energies(ThreadPool& pool, const float* weights, int64_t rows, int64_t length, double* energy);

struct Moments {
  int64_t nonzeros = 0;
  float minimum = 0.0f;  // of the nonzero magnitudes; 0 if there is none
  float maximum = 0.0f;
  double total = 0.0;   // sum of m
  double energy = 0.0;  // sum of m^2
};

Moments moments(ThreadPool& pool, const Magnitudes& m);

// counts[min(m / bin_width, bins - 1)], the quotient in float64, and the magnitudes m >= float32(bin_width (bins - 1))
// in C order.
struct Histogram {
  std::vector<int64_t> counts;
  std::vector<float> outliers;
};

Histogram histogram(ThreadPool& pool, const Magnitudes& m, double bin_width, int bins);

}  // namespace opq::compress
