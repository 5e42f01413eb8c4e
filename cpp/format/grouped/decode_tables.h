// The parameters of a grouped stream as tables that a slot is looked up in, shared by all chunks.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <vector>

#include "format/grouped/parameters.h"
#include "format/grouped/signs.h"
#include "format/grouped/slot_table.h"

namespace opq::grouped {

inline constexpr uint32_t kNowhere = uint32_t{1} << 30;  // a place beyond the row: more than any chunk's codes

// The places of the bits of a mask that are set, in order, then zeros.
struct SetBits {
  std::array<uint8_t, kMaxGroup> places{};
  uint8_t count = 0;
};

// What all chunks of a stream share.
struct DecodeTables {
  Parameters p;
  std::vector<uint32_t> places;         // [groups per row * group]
  std::vector<int32_t> group_scale;     // [groups per row]
  std::unique_ptr<SlotTable[]> counts;  // by bucket - first_bucket
  int first_bucket = 0;
  std::array<SlotTable, kMaxGroup + 1> masks;   // by count
  std::unique_ptr<SlotTable[]> tokens;          // by class
  std::array<uint8_t, kBuckets> density_class;  // times count_classes
  std::array<uint8_t, kMaxGroup + 1> count_class;
  std::vector<uint16_t> sign_frequency;      // per column, or per class of neighbours
  std::vector<uint16_t> place_frequency;     // the first, by place of a row's groups
  std::vector<SetBits> set_bits;             // by mask
  const RankedReferences* ranked = nullptr;  // of signs, where these are coded beside each other

  explicit DecodeTables(Parameters parameters) : p(std::move(parameters)) {
    places = p.places();
    group_scale = p.group_scale(places);
    set_bits.resize(std::size_t{1} << p.group());
    for (unsigned mask = 0; mask < set_bits.size(); ++mask) {
      std::size_t i = 0;
      for (unsigned left = mask; left != 0; left &= left - 1) {
        set_bits[mask].places[i++] = static_cast<uint8_t>(std::countr_zero(left));
      }
      set_bits[mask].count = static_cast<uint8_t>(i);
    }
    if (p.sign_mode == SignMode::kKernel) ranked = &ranked_references(p.group());
    const auto [least_group, most_group] = std::minmax_element(group_scale.begin(), group_scale.end());
    int least_row = 0, most_row = 0;
    if (!p.row_scale.empty()) {
      const auto [least, most] = std::minmax_element(p.row_scale.begin(), p.row_scale.end());
      least_row = *least, most_row = *most;
    }
    first_bucket = p.bucket(least_row, *least_group);
    const int last_bucket = p.bucket(most_row, *most_group);
    counts.reset(new SlotTable[last_bucket - first_bucket + 1]);
    const CountFrequencies& frequencies = count_frequencies(p.group(), p.dispersion);
    for (int b = first_bucket; b <= last_bucket; ++b) {
      counts[b - first_bucket].set_frequencies(frequencies[b].data(), p.group() + 1);
    }
    for (int count = 1; count <= p.group(); ++count) {
      uint16_t starts[kMaxPatterns + 1];
      p.mask_starts_of(count, starts);
      masks[count].set(starts, static_cast<int>(grouped::masks(p.group(), count).size()));
    }
    if (p.tokens > 1) {
      tokens.reset(new SlotTable[p.classes()]);
      for (int c = 0; c < p.classes(); ++c) {
        uint16_t token_frequency[kMaxTokens];
        const std::size_t size = static_cast<std::size_t>(p.tokens - 1);
        token_frequencies({p.hazards.data() + c * size, size}, token_frequency);
        tokens[c].set_frequencies(token_frequency, p.tokens);
      }
    }
    for (int b = 0; b < kBuckets; ++b) {
      density_class[b] = static_cast<uint8_t>(p.density_class(b) * p.count_classes);
    }
    for (int c = 0; c <= p.group(); ++c) count_class[c] = static_cast<uint8_t>(p.count_class(c));
    for (const uint8_t share : p.sign_shares) {
      sign_frequency.push_back(static_cast<uint16_t>(p.sign_frequency(share)));
    }
    for (uint32_t& place : places) {
      const uint32_t column = place / static_cast<uint32_t>(std::max(1, p.kernel));
      // A code beyond its row is refused: any frequency will do for it.
      if (p.sign_mode == SignMode::kColumn)
        place_frequency.push_back(sign_frequency[std::min(column, p.columns() - 1)]);
      if (place == p.row_length) place = kNowhere;
    }
  }
};

}  // namespace opq::grouped
