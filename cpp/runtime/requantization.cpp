#include "runtime/requantization.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace opq {
namespace {

constexpr double kLargest = 32767;
constexpr int kMostShift = 31, kLeastShift = -14;
constexpr int kMostFraction = 7;  // 255.5 * 2^7 fits 16 bits

int16_t rounded(double x) { return static_cast<int16_t>(std::clamp(std::rint(x), -kLargest, kLargest)); }

// In float64, operation by operation as the reference has them: the results are the same bits.
ByteRule rule_of(const CodeSums& codes, double scale, double bias, const Grid& x, const Grid& y, double ratio) {
  const double m = scale * (static_cast<double>(x.scale) / static_cast<double>(y.scale));
  const double b = bias / static_cast<double>(y.scale) + y.zero -
                   static_cast<double>(x.zero * (codes.positive - codes.negative)) * m;
  // Sums beyond these give outputs beyond the ends of the grid whatever the residual is: they may saturate.
  const double reach = std::abs(b) + 256.0 * (1.0 + ratio), magnitude = std::abs(m);
  const double most = 255.0 * static_cast<double>(std::max(codes.positive, codes.negative));
  const double largest = std::min(most, magnitude > 0 ? reach / magnitude : std::numeric_limits<double>::infinity());
  int shift = 0;
  while (shift < kMostShift && largest > kLargest * std::exp2(shift)) ++shift;
  const auto multiplier = [&](int f) { return std::rint(magnitude * std::exp2(shift + 15 + f)); };
  while (shift <= 0 && shift > kLeastShift && multiplier(0) > kLargest) --shift;
  int fraction = 0;
  for (int f = 1; f <= kMostFraction; ++f) {
    const bool fits = multiplier(f) <= kLargest &&
                      std::abs(std::rint(b * std::exp2(f))) + std::exp2(f - 1) <= kLargest &&
                      std::rint(ratio * std::exp2(f + 8)) <= kLargest;
    if (!fits) break;
    fraction = f;
  }
  const double half = fraction > 0 ? std::exp2(fraction - 1) : 0.0;
  return {.multiplier = rounded(m * std::exp2(shift + 15 + fraction)),
          .bias = rounded(b * std::exp2(fraction) + half),
          .residual_multiplier = rounded(ratio * std::exp2(fraction + 8)),
          .shift = static_cast<int8_t>(shift),
          .fraction = static_cast<int8_t>(fraction)};
}

int64_t saturate(int64_t x) { return std::clamp<int64_t>(x, -32768, 32767); }
int64_t high_product(int64_t a, int64_t b) { return (a * b + (1 << 14)) >> 15; }

}  // namespace

int requantize(int64_t sum, const ByteRule& rule, int residual, int least, int most) {
  if (rule.shift > 0) sum = (sum + (int64_t{1} << (rule.shift - 1))) >> rule.shift;
  if (rule.shift < 0) sum *= int64_t{1} << -rule.shift;
  int64_t u = saturate(high_product(saturate(sum), rule.multiplier) + rule.bias);
  u = saturate(u + high_product(residual * 128, rule.residual_multiplier));
  return static_cast<int>(std::clamp<int64_t>(u >> rule.fraction, least, most));
}

std::vector<ByteRule> requantization(std::span<const CodeSums> codes, std::span<const float> scale,
                                     std::span<const float> bias, const Grid& x, const Grid& y, const Grid* residual) {
  const double ratio = residual ? static_cast<double>(residual->scale) / static_cast<double>(y.scale) : 0.0;
  std::vector<ByteRule> rules;
  rules.reserve(codes.size());
  for (std::size_t m = 0; m < codes.size(); ++m) {
    rules.push_back(rule_of(codes[m], scale.empty() ? 1.0 : scale[m], bias.empty() ? 0.0 : bias[m], x, y, ratio));
  }
  return rules;
}

}  // namespace opq
