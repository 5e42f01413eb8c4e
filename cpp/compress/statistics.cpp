#include "compress/statistics.h"

#include <atomic>
#include <bit>
#include <limits>

namespace opq::compress {
namespace {

constexpr int32_t kMagnitudeBits = 0x7fffffff;
constexpr int32_t kInfinityBits = 0x7f800000;

}  // namespace

bool all_finite(ThreadPool& pool, const float* values, int64_t count) {
  std::atomic<bool> finite{true};
  parallel_ranges(pool, count, grain_of(1), [&](int64_t begin, int64_t end, int) {
    int32_t largest = 0;
    for (int64_t i = begin; i < end; ++i)
      largest = std::max(largest, std::bit_cast<int32_t>(values[i]) & kMagnitudeBits);
    if (largest >= kInfinityBits) finite.store(false, std::memory_order_relaxed);
  });
  return finite;
}

bool channel_energies(ThreadPool& pool, const float* weights, int64_t rows, int64_t length, double* energy) {
  std::atomic<bool> uniform{true};
  const auto block_energy = [&](int64_t row, int64_t begin, int64_t end) {
    const float* w = weights + row * length;
    if (uniform.load(std::memory_order_relaxed)) {
      int32_t different = 0;
      for (int64_t i = begin; i < end; ++i) different |= std::bit_cast<int32_t>(w[i]) ^ std::bit_cast<int32_t>(w[0]);
      if ((different & kMagnitudeBits) != 0) uniform.store(false, std::memory_order_relaxed);
    }
    return lane_sum(end - begin, [w = w + begin](int64_t i) { return static_cast<double>(w[i]) * w[i]; });
  };
  row_lane_sums(pool, rows, length, block_energy, energy);
  return uniform;
}

Moments moments(ThreadPool& pool, const Magnitudes& m) {
  std::vector<Moments> parts(blocks_of(m.size()));
  for_each_block(pool, m, kBlock, [&](int64_t block, int64_t, int64_t count, const float* values, int) {
    Moments& part = parts[block];
    // The bits of floats >= 0 are ordered as the floats are, and integers compare in vectors.
    int32_t zeros = 0, largest = 0, smallest = kMagnitudeBits;
    for (int64_t i = 0; i < count; ++i) {
      const int32_t bits = std::bit_cast<int32_t>(values[i]);
      zeros += bits == 0;
      largest = std::max(largest, bits);
      smallest = std::min(smallest, bits == 0 ? kMagnitudeBits : bits);
    }
    part.nonzeros = count - zeros;
    part.minimum = part.nonzeros > 0 ? std::bit_cast<float>(smallest) : std::numeric_limits<float>::infinity();
    part.maximum = std::bit_cast<float>(largest);
    part.total = lane_sum(count, [values](int64_t i) { return static_cast<double>(values[i]); });
    part.energy = lane_sum(count, [values](int64_t i) { return static_cast<double>(values[i]) * values[i]; });
  });
  Moments result;
  result.minimum = std::numeric_limits<float>::infinity();
  for (const Moments& part : parts) {
    result.nonzeros += part.nonzeros;
    result.minimum = std::min(result.minimum, part.minimum);
    result.maximum = std::max(result.maximum, part.maximum);
    result.total += part.total;
    result.energy += part.energy;
  }
  if (result.nonzeros == 0) result.minimum = 0.0f;
  return result;
}

Histogram histogram(ThreadPool& pool, const Magnitudes& m, double bin_width, int bins) {
  const int last_bin = bins - 1;
  const float limit = static_cast<float>(bin_width * last_bin);
  std::vector<int64_t> counts(static_cast<std::size_t>(pool.threads()) * bins);
  std::vector<int64_t> outliers(blocks_of(m.size()) + 1);  // outliers[b + 1]: how many block b has
  for_each_block(pool, m, kBlock, [&](int64_t block, int64_t, int64_t count, const float* values, int thread) {
    int64_t* const own = counts.data() + static_cast<std::size_t>(thread) * bins;
    int32_t beyond = 0;
    for (int64_t i = 0; i < count; ++i) {
      const double place = values[i] / bin_width;
      ++own[place < last_bin ? static_cast<int>(place) : last_bin];
      beyond += values[i] >= limit;
    }
    outliers[block + 1] = beyond;
  });
  Histogram result;
  result.counts.assign(counts.begin(), counts.begin() + bins);
  for (int thread = 1; thread < pool.threads(); ++thread) {
    for (int b = 0; b < bins; ++b) result.counts[b] += counts[static_cast<std::size_t>(thread) * bins + b];
  }
  for (std::size_t b = 1; b < outliers.size(); ++b) outliers[b] += outliers[b - 1];  // now: where a block's begin
  result.outliers.resize(outliers.back());
  for_each_block(pool, m, kBlock, [&](int64_t block, int64_t, int64_t count, const float* values, int) {
    float* out = result.outliers.data() + outliers[block];
    if (outliers[block] == outliers[block + 1]) return;
    std::copy_if(values, values + count, out, [limit](float value) { return value >= limit; });
  });
  return result;
}

}  // namespace opq::compress
