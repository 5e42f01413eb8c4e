// The parameters of a grouped stream as tables that a decoder looks things up in, shared by all chunks.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <tuple>
#include <vector>

#include "format/grouped/parameters.h"
#include "format/grouped/patterns.h"
#include "format/grouped/signs.h"
#include "format/grouped/slot_table.h"

namespace opq::grouped {

inline constexpr uint32_t kNowhere = uint32_t{1} << 30;  // a place beyond the row: more than any chunk's codes

// A group that is not empty: its number in the chunk << 8 | density class << 4 | count. The low byte is the symbol that
// was decoded.
inline uint32_t count_of(uint32_t filled) { return filled & 15; }
inline uint32_t class_of(uint32_t filled) { return filled & 127; }  // density class and count
inline uint32_t group_of(uint32_t filled) { return filled >> 8; }

struct DecodeTables {
  Parameters p;
  std::vector<uint32_t> places;      // [groups per row * group]
  std::vector<int16_t> group_scale;  // [groups per row]
  int first_bucket = 0, last_bucket = 0;
  std::unique_ptr<SlotTable[]> counts;  // by bucket - first_bucket
  std::unique_ptr<SlotTable[]> masks;   // by count; symbol: index among the patterns of this count
  const Patterns& patterns;
  std::array<uint8_t, 128> token_class{};     // by density class and count
  std::unique_ptr<SlotTable[]> tokens;        // by token class
  std::vector<uint8_t> place_share;           // by place of a row's groups, for signs by column
  std::array<uint16_t, 16> sign_frequency{};  // by share of a column, or by class of neighbours

  explicit DecodeTables(Parameters parameters) : p(std::move(parameters)), patterns(grouped::patterns(p.group())) {
    places = p.places();
    const std::vector<int32_t> scales = p.group_scale(places);
    group_scale.assign(scales.begin(), scales.end());
    std::tie(first_bucket, last_bucket) = p.bucket_range(scales);
    make_counts();
    make_masks();
    if (p.tokens > 1) make_tokens();
    if (p.sign_mode != SignMode::kRaw) make_signs();
    for (uint32_t& place : places) place = place < p.row_length ? place : kNowhere;
  }

 private:
  void make_counts() {
    counts.reset(new SlotTable[last_bucket - first_bucket + 1]);
    const CountFrequencies& frequencies = count_frequencies(p.group(), p.dispersion);
    for (int b = first_bucket; b <= last_bucket; ++b) {
      counts[b - first_bucket].set_frequencies(frequencies[b].data(), p.group() + 1, p.density_class(b) << 4);
    }
  }

  void make_masks() {
    masks.reset(new SlotTable[p.group() + 1]);
    for (int count = 1; count <= p.group(); ++count) {
      uint16_t starts[kMaxPatterns + 1];
      p.mask_starts_of(count, starts);
      masks[count].set(starts, static_cast<int>(grouped::masks(p.group(), count).size()));
    }
  }

  void make_tokens() {
    for (int density = 0; density < p.density_classes(); ++density) {
      for (int count = 0; count <= p.group(); ++count) {
        const int c = density * p.count_classes + p.count_class(count);
        token_class[density << 4 | count] = static_cast<uint8_t>(c);
      }
    }
    tokens.reset(new SlotTable[p.classes()]);
    const std::size_t size = static_cast<std::size_t>(p.tokens - 1);
    for (int c = 0; c < p.classes(); ++c) {
      uint16_t frequencies[kMaxTokens];
      token_frequencies({p.hazards.data() + c * size, size}, frequencies);
      tokens[c].set_frequencies(frequencies, p.tokens);
    }
  }

  void make_signs() {
    if (p.sign_mode == SignMode::kKernel) {
      for (int c = 0; c < kNeighbourClasses; ++c) {
        sign_frequency[c] = static_cast<uint16_t>(p.sign_frequency(p.sign_shares[c]));
      }
      return;
    }
    for (int share = 0; share < 16; ++share) sign_frequency[share] = static_cast<uint16_t>(p.sign_frequency(share));
    for (const uint32_t place : places) {
      const uint32_t column = place / static_cast<uint32_t>(std::max(1, p.kernel));
      // A code beyond its row is refused: any share will do for it.
      place_share.push_back(p.sign_shares[std::min(column, p.columns() - 1)]);
    }
  }
};

}  // namespace opq::grouped
