#include "runtime/peak.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "runtime/aligned_buffer.h"
#include "runtime/code_pairs.h"

namespace opq {
namespace {

constexpr int kDepth = 64, kRows = 24;  // a panel of 16 KiB, and weights that fit beside it

// Zeros are multiplied as fast as other numbers.
template <typename T>
AlignedBuffer zeros(int64_t count) {
  AlignedBuffer buffer(static_cast<std::size_t>(count) * sizeof(T));
  std::memset(buffer.data(), 0, buffer.size());
  return buffer;
}

template <typename T>
T* as(const AlignedBuffer& buffer) {
  return reinterpret_cast<T*>(buffer.data());
}

// The best of some rounds: what else the machine does can only slow them down.
template <typename Run>
double best_rate(double products, const Run& run) {
  using Clock = std::chrono::steady_clock;
  constexpr int kRounds = 20, kRuns = 50;
  double best = 0.0;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = Clock::now();
    for (int i = 0; i < kRuns; ++i) run();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    best = std::max(best, kRuns * products / seconds);
  }
  return best;
}

double float_rate(const Kernels& kernels) {
  constexpr int kVectors = kTile / kVector;
  const AlignedBuffer weights = zeros<float>(kRows * kDepth), panel = zeros<float>(kDepth * kTile + kVector),
                      sums = zeros<float>(kRows * kTile);
  return best_rate(double{kRows} * kDepth * kTile, [&] {
    kernels.dense_block({as<float>(weights), kDepth}, kRows, as<float>(panel), as<float>(sums), kVectors, true);
  });
}

double byte_rate(const Kernels& kernels) {
  constexpr int kBytes = 4 * kDepth;
  const AlignedBuffer codes = zeros<int8_t>(kRows * kBytes), panel = zeros<uint8_t>(kBytes * kByteTile),
                      sums = zeros<int32_t>(kRows * kByteTile);
  const std::vector<uint32_t> large_begin(kRows + 1);
  const QuadBlock block = {.codes = as<int8_t>(codes),
                           .quads = kBytes / 4,
                           .turn = kBytes / 4,
                           .large_begin = large_begin.data(),
                           .large = nullptr};
  return best_rate(double{kRows} * kBytes * kByteTile, [&] {
    kernels.quad_block(block, kRows, as<uint8_t>(panel), kByteTile, as<int32_t>(sums), true, nullptr);
  });
}

double word_rate(const Kernels& kernels) {
  const AlignedBuffer panel = zeros<int16_t>(kDepth * kByteTile), sums = zeros<double>(kRows * kByteTile);
  CodePairs pairs(Precision::kInt16);
  const std::vector<int8_t> row(kDepth, 1);
  for (int m = 0; m < kRows; ++m) pairs.add_row(row.data(), kDepth);
  pairs.finish();
  return best_rate(double{kRows} * kDepth * kByteTile, [&] {
    kernels.word_block(pairs.block(0), kRows, as<int16_t>(panel), kByteTile, as<double>(sums), true, nullptr);
  });
}

}  // namespace

double peak_products_per_second(Precision precision, const Kernels& kernels) {
  switch (precision) {
    case Precision::kInt8:
      return byte_rate(kernels);
    case Precision::kInt16:
      return word_rate(kernels);
    default:
      return float_rate(kernels);
  }
}

}  // namespace opq
