#include "format/grouped/fit.h"

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <optional>
#include <utility>

#include "format/grouped/fit_costs.h"
#include "format/grouped/fit_histogram.h"
#include "format/grouped/fit_scales.h"
#include "format/grouped/magnitudes.h"
#include "format/grouped/signs.h"

namespace opq::grouped {
namespace {

constexpr int64_t kLog2E = 94548;
constexpr int kRounds = 3;
// Of a scale's bits: more where counts are overdispersed and the sums say less than the model thinks.
constexpr std::array<int, 3> kPrices = {1, 2, 4};

int64_t parameter_cost(const Parameters& p) { return 8 * static_cast<int64_t>(encode_parameters(p).size()) * kBit; }

// Which scales there are, how coarse they are, and how much their bits count.
struct Choice {
  bool rows, columns;
  int unit = kScaleUnits[0];
  int price = kPrices[0];
};

struct Fitted {
  int64_t cost;  // of all but masks and signs
  Choice choice;
  Parameters parameters;
  int64_t even_masks;  // the cost of the masks where those of one count are equally likely
  int64_t extra_bits;  // of the magnitudes, which no choice changes
};

// symbols[size]: 0 for a zero, else 1 + the token of its magnitude. Returns the largest magnitude.
uint32_t make_symbols(const int32_t* codes, uint32_t size, uint8_t* symbols) {
  const auto magnitude = [](int32_t code) {
    return code < 0 ? 0u - static_cast<uint32_t>(code) : static_cast<uint32_t>(code);
  };
  uint32_t largest = 0;
  for (uint32_t i = 0; i < size; ++i) largest = std::max(largest, magnitude(codes[i]));
  if (largest <= kDirectTokens) {  // then magnitudes are 1 + their tokens
    for (uint32_t i = 0; i < size; ++i) symbols[i] = static_cast<uint8_t>(magnitude(codes[i]));
  } else {
    for (uint32_t i = 0; i < size; ++i) {
      symbols[i] = static_cast<uint8_t>(codes[i] == 0 ? 0 : 1 + token_of(magnitude(codes[i]) - 1));
    }
  }
  return largest;
}

class Fit {
 public:
  Fit(const Source& source, CodeLayout layout, const Parallel& parallel)
      : source_(source), parallel_(parallel), start_(source.count, layout.row_length) {
    start_.kernel = layout.kernel;
    measure();
  }

  Parameters best() {
    std::optional<Fitted> best;
    const auto try_choice = [&](const Choice& choice) {
      Fitted fitted = fit(choice);
      if (!best || fitted.cost < best->cost) best = std::move(fitted);
    };
    for (const bool rows : {false, true}) {
      if (rows && start_.rows() > kMostScales) break;
      for (const bool columns : {false, true}) try_choice({rows, columns});
    }
    if (best->choice.rows || best->choice.columns) {
      const Choice with_scales = best->choice;
      for (std::size_t i = 1; i < kScaleUnits.size(); ++i) {
        Choice choice = with_scales;
        choice.unit = kScaleUnits[i];
        try_choice(choice);
      }
      const Choice with_unit = best->choice;
      for (std::size_t i = 1; i < kPrices.size(); ++i) {
        Choice choice = with_unit;
        choice.price = kPrices[i];
        try_choice(choice);
      }
    }
    Parameters p = std::move(best->parameters);
    if (p.kernel != 0) fit_masks(p);
    fit_signs(p);
    return p;
  }

  // About the cost of the stream: that of the better of two fits, with scales of the rows alone and along both axes.
  int64_t estimate() {
    const bool rows = start_.rows() <= kMostScales;
    Fitted fitted = fit({rows, false});
    if (Fitted both = fit({rows, true}); both.cost < fitted.cost) fitted = std::move(both);
    Parameters p = std::move(fitted.parameters);
    const int64_t magnitudes = fitted.cost - parameter_cost(p) + fitted.extra_bits;
    const int64_t masks = p.kernel != 0 ? fit_masks(p) : fitted.even_masks;
    const int64_t signs = fit_signs(p);
    return magnitudes + masks + signs + parameter_cost(p);
  }

 private:
  // Runs use(values, rows, row_length) over all rows, chunk by chunk, on all threads.
  template <typename Use>
  void for_chunks(const Parameters& p, const Use& use) const {
    const uint64_t rows = p.rows(), step = p.rows_per_chunk();
    std::vector<std::vector<int32_t>> buffers(static_cast<std::size_t>(parallel_.threads));
    parallel_.run(static_cast<int>(p.chunks()), [&](int chunk, int thread) {
      const uint64_t first = chunk * step, here = std::min(step, rows - first);
      std::vector<int32_t>& values = buffers[thread];
      values.resize(here * p.row_length);
      source_.load(first * p.row_length, values.size(), values.data());
      use(values.data(), first, here);
    });
  }

  // Sums of nonzeros and of signs, and the largest token.
  void measure() {
    const uint32_t length = start_.row_length;
    const int trials = std::max(1, start_.kernel);
    symbols_.resize(start_.rows() * length);
    row_sums_.resize(start_.rows());
    column_sums_.resize(start_.columns());
    negative_.resize(start_.columns());
    std::mutex mutex;
    for_chunks(start_, [&](const int32_t* values, uint64_t first, uint64_t rows) {
      std::vector<uint32_t> sums(length), negative(length);  // by code of a row
      uint32_t largest = 0;
      for (uint64_t row = 0; row < rows; ++row, values += length) {
        uint8_t* symbols = symbols_.data() + (first + row) * length;
        const uint32_t largest_here = make_symbols(values, length, symbols);
        largest = std::max(largest, largest_here);
        uint32_t sum = 0;
        for (uint32_t i = 0; i < length; ++i) {
          sum += values[i] != 0;
          sums[i] += values[i] != 0;
          negative[i] += values[i] < 0;
        }
        row_sums_[first + row] = sum;
      }
      const std::lock_guard lock(mutex);
      for (uint32_t i = 0; i < length; ++i) column_sums_[i / trials] += sums[i], negative_[i / trials] += negative[i];
      largest_ = std::max(largest_, largest);
    });
    for (const uint64_t sum : row_sums_) nonzeros_ += sum;
    tokens_ = largest_ == 0 ? 0 : token_of(largest_ - 1) + 1;
    const int64_t ones = static_cast<int64_t>(nonzeros_);
    const int64_t zeros = static_cast<int64_t>(start_.rows() * length) - ones;
    start_.base = argmin(kBuckets, [&](int b) {
      const uint32_t density = static_cast<uint32_t>(densities()[b]);
      return zeros * cost(65536 - density, 16) + ones * cost(density, 16);
    });
    start_.tokens = tokens_;
  }

  Parameters with_scales(const Choice& choice) const {
    Parameters p = start_;
    p.scale_unit = choice.unit;
    const int trials = std::max(1, p.kernel);
    std::vector<int8_t> rows(p.rows()), columns(p.columns());
    for (int i = 0; i < kRounds; ++i) {
      const int price = i > 0 ? choice.price : 0;
      if (choice.rows) rows = scales_along(row_sums_, columns, rows, p.base, choice.unit, trials, price);
      if (choice.columns) columns = scales_along(column_sums_, rows, columns, p.base, choice.unit, trials, price);
    }
    if (choice.rows) p.row_scale = std::move(rows);
    if (choice.columns) p.column_scale = std::move(columns);
    return p;
  }

  Fitted fit(const Choice& choice) const {
    Parameters p = with_scales(choice);
    const Histogram histogram = histogram_of(symbols_, tokens_, p, parallel_);
    const auto count_cost = [&](int dispersion) {
      const CountFrequencies& frequencies = count_frequencies(p.group(), dispersion);
      int64_t total = 0;
      for (int b = histogram.first; b <= histogram.last; ++b) {
        for (int c = 0; c <= p.group(); ++c) total += histogram.groups(b, c) * cost(frequencies[b][c]);
      }
      return total;
    };
    p.dispersion = argmin(kDispersions, count_cost);
    const int64_t counts = count_cost(p.dispersion);
    int64_t even_masks = 0, extra = 0;
    for (int b = histogram.first; b <= histogram.last; ++b) {
      for (int c = 0; c <= p.group(); ++c) {
        even_masks += histogram.groups(b, c) * log2_cost(static_cast<uint32_t>(masks(p.group(), c).size()));
        for (int t = kDirectTokens; t < tokens_; ++t) extra += histogram.tokens(b, c)[t] * extra_bits(t) * kBit;
      }
    }
    if (tokens_ < 2) return {counts + parameter_cost(p), choice, std::move(p), even_masks, extra};

    std::optional<Fitted> best;
    for (const int density_classes : {1, 3, 5}) {
      const auto boundaries = density_boundaries(histogram, p, density_classes);
      if (!boundaries) continue;
      for (const int count_classes : {1, 3, 5}) {
        Parameters option = p;
        option.boundaries = *boundaries;
        option.count_classes = count_classes;
        const int64_t total = counts + fit_hazards(histogram, option) + parameter_cost(option);
        if (!best || total < best->cost) best = Fitted{total, choice, std::move(option), even_masks, extra};
      }
    }
    return std::move(*best);
  }

  // First buckets of the classes that split the nonzero codes evenly; nothing where a class would be empty.
  std::optional<std::vector<uint8_t>> density_boundaries(const Histogram& histogram, const Parameters& p,
                                                         int classes) const {
    std::array<int64_t, kBuckets> below;
    int64_t total = 0;
    for (int b = 0; b < kBuckets; ++b) {
      below[b] = total;
      if (b < histogram.first || b > histogram.last) continue;
      for (int c = 1; c <= p.group(); ++c) total += c * histogram.groups(b, c);
    }
    std::vector<uint8_t> result;
    for (int i = 1; i < classes; ++i) {
      const auto found = std::find_if(below.begin(), below.end(), [&](int64_t n) { return n * classes >= i * total; });
      if (found == below.end()) return std::nullopt;
      const uint8_t boundary = static_cast<uint8_t>(found - below.begin());
      if (!result.empty() && boundary <= result.back()) return std::nullopt;
      result.push_back(boundary);
    }
    return result;
  }

  // Sets the hazards, each the cheapest with the bits of its difference counted; returns the cost of the tokens.
  int64_t fit_hazards(const Histogram& histogram, Parameters& p) const {
    static const auto hazard_cost = [] {
      std::array<std::array<int64_t, 2>, 256> result;  // of taking a token, of passing on
      for (uint32_t h = 0; h < 256; ++h) result[h] = {cost(2 * h + 1, 9), cost(512 - (2 * h + 1), 9)};
      return result;
    }();
    const std::size_t size = static_cast<std::size_t>(tokens_);
    std::vector<int64_t> merged(p.classes() * size);
    for (int b = histogram.first; b <= histogram.last; ++b) {
      for (int c = 1; c <= p.group(); ++c) {
        if (histogram.groups(b, c) == 0) continue;
        const int64_t* from = histogram.tokens(b, c);
        int64_t* to = merged.data() + (p.density_class(b) * p.count_classes + p.count_class(c)) * size;
        for (std::size_t s = 0; s < size; ++s) to[s] += from[s];
      }
    }
    p.hazards.assign(p.classes() * (size - 1), 0);
    int64_t total = 0;
    for (std::size_t c = 0; c < static_cast<std::size_t>(p.classes()); ++c) {
      const int64_t* seen = merged.data() + c * size;
      uint8_t* hazards = p.hazards.data() + c * (size - 1);
      const uint8_t* before = c > 0 ? hazards - (size - 1) : nullptr;  // of the class before
      int64_t left = 0;
      for (std::size_t s = 0; s < size; ++s) left += seen[s];
      for (std::size_t s = 0; s + 1 < size; ++s) {
        const int near = before != nullptr ? before[s] : s > 0 ? hazards[s - 1] : 128;
        left -= seen[s];
        if (seen[s] == 0 && left == 0) {  // any hazard will do: the one without a difference
          hazards[s] = static_cast<uint8_t>(near);
          continue;
        }
        hazards[s] = static_cast<uint8_t>(argmin(256, [&](int h) {
          return seen[s] * hazard_cost[h][0] + left * hazard_cost[h][1] + difference_cost(h - near);
        }));
      }
      uint16_t frequencies[kMaxTokens];
      token_frequencies({hazards, size - 1}, frequencies);
      for (std::size_t s = 0; s < size; ++s) total += seen[s] * cost(frequencies[s]);
    }
    return total;
  }

  // [mask] of the groups, and [class of neighbours][differs] of the signs. Kernels only.
  void count_masks(const Parameters& p, std::vector<int64_t>& masks_seen,
                   std::array<std::array<int64_t, 2>, kNeighbourClasses>& signs_seen) const {
    const References& reference = references(p.kernel);
    masks_seen.assign(std::size_t{1} << p.kernel, 0);
    std::mutex mutex;
    for_chunks(p, [&](const int32_t* values, uint64_t, uint64_t rows) {
      std::vector<int64_t> masks_here(masks_seen.size());
      std::array<std::array<int64_t, 2>, kNeighbourClasses> signs_here{};
      const uint64_t kernels = rows * p.groups_per_row();
      for (uint64_t kernel = 0; kernel < kernels; ++kernel) {
        const int32_t* codes = values + kernel * p.kernel;
        unsigned mask = 0;
        for (int i = 0; i < p.kernel; ++i) mask |= static_cast<unsigned>(codes[i] != 0) << i;
        ++masks_here[mask];
        for (unsigned left = mask; left != 0; left &= left - 1) {
          const int place = std::countr_zero(left);
          const Reference& near = reference[mask][place];
          const bool other = near.place < p.kernel && codes[near.place] < 0;
          ++signs_here[near.neighbours][(codes[place] < 0) != other];
        }
      }
      const std::lock_guard lock(mutex);
      for (std::size_t i = 0; i < masks_here.size(); ++i) masks_seen[i] += masks_here[i];
      for (int c = 0; c < kNeighbourClasses; ++c) {
        for (int i = 0; i < 2; ++i) signs_seen[c][i] += signs_here[c][i];
      }
    });
  }

  static int64_t mask_cost(const std::vector<int64_t>& seen, const Parameters& p) {
    int64_t total = 0;
    for (int count = 1; count < p.kernel; ++count) {
      const std::vector<uint16_t>& patterns = masks(p.kernel, count);
      uint16_t starts[kMaxPatterns + 1];
      p.mask_starts_of(count, starts);
      for (std::size_t i = 0; i < patterns.size(); ++i) {
        total += seen[patterns[i]] * cost(static_cast<uint32_t>(starts[i + 1] - starts[i]));
      }
    }
    return total;
  }

  // Weights of the masks where they gain more than they cost. Returns what the masks cost.
  // A mask that occurs n times among N of P patterns is taken as Poisson: -n log2 x + N / P x log2(e) bits for weight
  // x.
  int64_t fit_masks(Parameters& p) {
    std::vector<int64_t> seen;
    count_masks(p, seen, signs_seen_);
    Parameters option = p;
    option.mask_weights.resize(seen.size());
    for (int count = 1; count < p.kernel; ++count) {
      const std::vector<uint16_t>& patterns = masks(p.kernel, count);
      int64_t total = 0;
      for (const uint16_t mask : patterns) total += seen[mask];
      for (const uint16_t mask : patterns) {
        option.mask_weights[mask] = static_cast<int8_t>(
            argmin(2 * kLargestWeight + 1,
                   [&](int i) {
                     const int w = i - kLargestWeight;
                     const int64_t rate = total * kWeights[i] * kLog2E / (64 * static_cast<int64_t>(patterns.size()));
                     return rate + difference_cost(w) - seen[mask] * w * (kBit / 2);
                   }) -
            kLargestWeight);
      }
    }
    const int64_t with = mask_cost(seen, option), without = mask_cost(seen, p);
    if (with + parameter_cost(option) >= without + parameter_cost(p)) return without;
    p = std::move(option);
    return with;
  }

  // Returns what the signs cost.
  int64_t fit_signs(Parameters& p) const {
    Parameters best = p;
    int64_t cost_of_best = static_cast<int64_t>(nonzeros_) * kBit, least = cost_of_best + parameter_cost(p);
    const auto consider = [&](Parameters& option, int64_t bits) {
      const int64_t total = bits + parameter_cost(option);
      if (total < least) least = total, cost_of_best = bits, best = std::move(option);
    };
    Parameters columns = p;
    columns.sign_mode = SignMode::kColumn;
    columns.sign_shares.assign(p.columns(), 8);
    int64_t bits = 0;
    for (int i = 0; i < kRounds; ++i) {
      std::array<int64_t, 16> price{};
      if (i > 0) price = prices<16>(columns.sign_shares, 0);
      bits = 0;
      for (std::size_t column = 0; column < columns.sign_shares.size(); ++column) {
        const int64_t minus = static_cast<int64_t>(negative_[column]);
        const int64_t plus = static_cast<int64_t>(column_sums_[column]) - minus;
        const auto sign_cost = [&](int share) {
          const uint32_t frequency = static_cast<uint32_t>(columns.sign_frequency(share));
          return minus * cost(frequency) + plus * cost(kScale - frequency);
        };
        const int share = argmin(16, [&](int s) { return sign_cost(s) + price[s]; });
        columns.sign_shares[column] = static_cast<uint8_t>(share);
        bits += sign_cost(share);
      }
    }
    consider(columns, bits);
    if (p.kernel != 0) {
      Parameters kernels = p;
      kernels.sign_mode = SignMode::kKernel;
      bits = 0;
      for (const auto& [same, different] : signs_seen_) {
        const int64_t seen = same + different;
        const int share = seen > 0 ? static_cast<int>(std::min<int64_t>(64 * different / seen, 63)) : 32;
        kernels.sign_shares.push_back(static_cast<uint8_t>(share));
        const uint32_t frequency = static_cast<uint32_t>(kernels.sign_frequency(share));
        bits += different * cost(frequency) + same * cost(kScale - frequency);
      }
      consider(kernels, bits);
    }
    p = std::move(best);
    return cost_of_best;
  }

  const Source& source_;
  const Parallel& parallel_;
  Parameters start_;
  std::vector<uint64_t> row_sums_, column_sums_, negative_;  // of nonzeros; of negative codes by column
  std::array<std::array<int64_t, 2>, kNeighbourClasses> signs_seen_{};
  uint64_t nonzeros_ = 0;
  uint32_t largest_ = 0;          // magnitude
  std::vector<uint8_t> symbols_;  // [rows][row_length]
  int tokens_ = 0;
};

}  // namespace

Parameters fit(const Source& source, CodeLayout layout, const Parallel& parallel) {
  return Fit(source, layout, parallel).best();
}

int64_t estimated_cost(const Source& source, CodeLayout layout, const Parallel& parallel) {
  return Fit(source, layout, parallel).estimate();
}

}  // namespace opq::grouped
