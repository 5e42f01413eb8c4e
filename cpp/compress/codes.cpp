#include "compress/codes.h"

#include <cstdlib>

#include "compress/signs.h"

namespace opq::compress {
namespace {

// 1.5 * 2^23: adding it to 0 <= x < 2^22 leaves no bits behind the point, so the addition rounds to the nearest
// integer, ties to even. The baseline of x86-64 has no instruction for that.
constexpr float kRounder = 12582912.0f;

}  // namespace

void nearest_codes(ThreadPool& pool, const Magnitudes& m, double threshold, float step, int levels, int8_t* codes) {
  const float limit = static_cast<float>(threshold), largest = static_cast<float>(levels);
  for_each_block(pool, m, kBlock, [=](int64_t, int64_t begin, int64_t count, const float* values, int) {
    const float* w = m.weights + begin;
    int32_t level[kBlock];
    for (int64_t i = 0; i < count; ++i) {
      const float x = values[i] / step;
      const float rounded = ((x < largest ? x : largest) + kRounder) - kRounder;
      level[i] = static_cast<int32_t>(rounded > 1.0f ? rounded : 1.0f);
    }
    if (threshold > 0.0) {
      for (int64_t i = 0; i < count; ++i) level[i] = values[i] > limit ? level[i] : 0;
    } else {
      for (int64_t i = 0; i < count; ++i) level[i] = w[i] != 0.0f ? level[i] : 0;
    }
    with_signs(level, w, count, codes + begin);
  });
}

SquaredError squared_error(ThreadPool& pool, const Magnitudes& m, const int8_t* codes, float step) {
  std::vector<SquaredError> parts(blocks_of(m.size()));
  for_each_block(pool, m, kBlock, [&](int64_t block, int64_t begin, int64_t count, const float* values, int) {
    const int8_t* const code = codes + begin;
    parts[block].error = lane_sum(count, [=](int64_t i) {
      const double difference = values[i] - static_cast<double>(step) * std::abs(static_cast<int>(code[i]));
      return difference * difference;
    });
    parts[block].energy = lane_sum(count, [values](int64_t i) { return static_cast<double>(values[i]) * values[i]; });
  });
  SquaredError result;
  for (const SquaredError& part : parts) {
    result.error += part.error;
    result.energy += part.energy;
  }
  return result;
}

}  // namespace opq::compress
