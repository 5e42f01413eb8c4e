#include "format/grouped/parameters.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <numeric>

#include "format/grouped/binary_coder.h"
#include "format/grouped/signs.h"

namespace opq::grouped {
namespace {

[[noreturn]] void fail(const char* message) {
  throw Error(ErrorCode::kFormat, std::string("grouped codes: ") + message);
}

// `bits` bits, the highest first, each with a probability of its own.
template <typename Coder>
int plain(Coder& coder, int value, int bits) {
  int result = 0;
  for (int i = bits - 1; i >= 0; --i) {
    Probability even;
    result = result << 1 | static_cast<int>(coder.bit(value >> i & 1, even));
  }
  return result;
}

// Integers around 0: is it zero, its sign, then its size as Elias' gamma code has it, with a probability per decision.
// The number of bits of the size in unary, then its bits from the second on, those up to the fourth given the ones
// before.
class Signed {
 public:
  explicit Signed(int largest) : largest_(largest) {}

  template <typename Coder>
  int code(Coder& coder, int value) {
    if (!coder.bit(value != 0, nonzero_)) return 0;
    const bool negative = coder.bit(value < 0, negative_);
    const unsigned size = static_cast<unsigned>(std::abs(value));
    int bits = 1;
    while (bits < 8 && coder.bit(size >> bits != 0, longer_[bits - 1])) ++bits;
    int result = 1;
    for (int i = bits - 2; i >= 0; --i) {
      Probability even;
      Probability& probability = result < 8 ? below_[bits - 1][result] : even;
      result = result << 1 | static_cast<int>(coder.bit(size >> i & 1, probability));
    }
    if (result > largest_) fail("a parameter is out of range");
    return negative ? -result : result;
  }

 private:
  int largest_;
  Probability nonzero_, negative_, longer_[8], below_[8][8];
};

template <typename Coder>
void transfer_scales(Coder& coder, std::vector<int8_t>& scales, uint64_t size) {
  if (plain(coder, !scales.empty(), 1) == 0) return;
  if (size > kMostScales) fail("too many scales");
  if constexpr (Coder::kReads) scales.resize(size);
  Signed number(kLargestScale);
  for (int8_t& scale : scales) scale = static_cast<int8_t>(number.code(coder, scale));
}

template <typename Coder>
void transfer_mask_weights(Coder& coder, Parameters& p) {
  if (p.kernel == 0 || plain(coder, !p.mask_weights.empty(), 1) == 0) return;
  if constexpr (Coder::kReads) p.mask_weights.resize(std::size_t{1} << p.kernel);
  Signed number(kLargestWeight);
  for (int count = 1; count < p.kernel; ++count) {
    for (const uint16_t mask : masks(p.kernel, count)) {
      p.mask_weights[mask] = static_cast<int8_t>(number.code(coder, p.mask_weights[mask]));
    }
  }
}

// Differences: along the tokens in the first class, then to the class before.
template <typename Coder>
void transfer_hazards(Coder& coder, Parameters& p) {
  const std::size_t size = p.tokens > 1 ? p.tokens - 1 : 0;
  if constexpr (Coder::kReads) p.hazards.resize(p.classes() * size);
  Signed along(255), across(255);
  for (std::size_t i = 0; i < p.hazards.size(); ++i) {
    const int near = i >= size ? p.hazards[i - size] : i > 0 ? p.hazards[i - 1] : 128;
    const int hazard = near + (i >= size ? across : along).code(coder, p.hazards[i] - near);
    if (hazard < 0 || hazard > 255) fail("a share is not in 0..255");
    p.hazards[i] = static_cast<uint8_t>(hazard);
  }
}

template <typename Coder>
void transfer_signs(Coder& coder, Parameters& p) {
  const int mode = plain(coder, static_cast<int>(p.sign_mode), 2);
  if (mode > 2 || (mode == 2 && p.kernel == 0)) fail("unknown way of signs");
  p.sign_mode = static_cast<SignMode>(mode);
  if (p.sign_mode == SignMode::kRaw) return;
  const bool columns = p.sign_mode == SignMode::kColumn;
  const int middle = columns ? 8 : 32;
  if constexpr (Coder::kReads) p.sign_shares.resize(columns ? p.columns() : kNeighbourClasses);
  Signed number(middle);
  for (uint8_t& stored : p.sign_shares) {
    const int share = middle + number.code(coder, stored - middle);
    if (share >= 2 * middle) fail("a share of signs is too large");
    stored = static_cast<uint8_t>(share);
  }
}

// Writes every field, or reads it: the two cannot differ.
template <typename Coder>
void transfer(Coder& coder, Parameters& p) {
  p.kernel = plain(coder, p.kernel, 4);
  if (p.kernel != 0 && (p.kernel < kMinKernel || p.kernel > kMaxGroup)) fail("unknown size of the groups");
  const int bits = plain(coder, std::bit_width(p.row_length), 5);
  p.row_length = static_cast<uint32_t>(plain(coder, static_cast<int>(p.row_length), bits));
  if (p.row_length < 1 || p.row_length > kChunkCodes || (p.kernel != 0 && p.row_length % p.kernel != 0)) {
    fail("the length of the rows does not fit");
  }
  p.base = plain(coder, p.base, 7);
  p.dispersion = plain(coder, p.dispersion, 3);
  const auto unit = std::find(kScaleUnits.begin(), kScaleUnits.end(), p.scale_unit);
  p.scale_unit = kScaleUnits[plain(coder, static_cast<int>(unit - kScaleUnits.begin()), 2)];
  transfer_scales(coder, p.row_scale, p.rows());
  transfer_scales(coder, p.column_scale, p.columns());
  transfer_mask_weights(coder, p);
  p.tokens = plain(coder, p.tokens, 8);
  if (p.tokens > kMaxTokens) fail("too many tokens");
  const int classes = plain(coder, static_cast<int>(p.boundaries.size()) / 2, 2);
  if (classes > 2) fail("unknown number of density classes");
  p.boundaries.resize(2 * classes);
  for (uint8_t& boundary : p.boundaries) boundary = static_cast<uint8_t>(plain(coder, boundary, 7));
  for (std::size_t i = 1; i < p.boundaries.size(); ++i) {
    if (p.boundaries[i - 1] >= p.boundaries[i]) fail("the density classes are not in order");
  }
  p.count_classes = 1 + 2 * plain(coder, p.count_classes / 2, 2);
  if (p.count_classes > 5) fail("unknown number of count classes");
  transfer_hazards(coder, p);
  transfer_signs(coder, p);
}

}  // namespace

std::vector<uint32_t> Parameters::places() const {
  std::vector<uint32_t> order(std::size_t{groups_per_row()} * group(), row_length);
  std::iota(order.begin(), order.begin() + row_length, 0u);
  if (!column_scale.empty() && kernel == 0) {
    std::stable_sort(order.begin(), order.begin() + row_length,
                     [this](uint32_t a, uint32_t b) { return column_scale[a] > column_scale[b]; });
  }
  return order;
}

std::vector<int32_t> Parameters::group_scale(const std::vector<uint32_t>& places) const {
  std::vector<int32_t> result(groups_per_row());
  if (column_scale.empty()) return result;
  if (kernel != 0) return {column_scale.begin(), column_scale.end()};
  for (std::size_t i = 0; i < places.size(); ++i) {
    result[i / kColumnGroup] += column_scale[places[std::min<std::size_t>(i, row_length - 1)]];
  }
  for (int32_t& sum : result) sum = (sum + kColumnGroup / 2) >> 3;
  return result;
}

std::pair<int, int> Parameters::bucket_range(const std::vector<int32_t>& group_scale) const {
  const auto [least_group, most_group] = std::minmax_element(group_scale.begin(), group_scale.end());
  int least_row = 0, most_row = 0;
  if (!row_scale.empty()) {
    const auto [least, most] = std::minmax_element(row_scale.begin(), row_scale.end());
    least_row = *least, most_row = *most;
  }
  return {bucket(least_row, *least_group), bucket(most_row, *most_group)};
}

void Parameters::mask_starts_of(int count, uint16_t* starts) const {
  const std::vector<uint16_t>& patterns = masks(group(), count);
  int8_t weights[kMaxPatterns] = {};
  if (!mask_weights.empty()) {
    for (std::size_t i = 0; i < patterns.size(); ++i) weights[i] = mask_weights[patterns[i]];
  }
  mask_starts({weights, patterns.size()}, starts);
}

std::vector<uint8_t> encode_parameters(const Parameters& parameters) {
  Parameters written = parameters;  // what is written is assigned again, unchanged
  BinaryEncoder encoder;
  transfer(encoder, written);
  return encoder.finish();
}

Parameters decode_parameters(Bytes bytes, uint64_t count) {
  BinaryDecoder decoder(bytes);
  Parameters result(count, 1);
  transfer(decoder, result);
  if (!decoder.has_read_all()) fail("bytes behind the parameters");
  return result;
}

}  // namespace opq::grouped
