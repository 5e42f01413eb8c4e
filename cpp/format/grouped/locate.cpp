#include "format/grouped/locate.h"

#include <cstring>

namespace opq::grouped {
namespace {

// Most groups have no more nonzero codes than this.
constexpr int kUsual = 4;

// Runs use(i) for i = 0 .. count - 1 and some more: a loop of `count` rounds would end at unpredictable times, and each
// wrong guess of the processor costs as much as a dozen rounds.
template <typename Use>
void for_codes(int count, const Use& use) {
  for (int i = 0; i < kUsual; ++i) use(i);
  if (count > kUsual) {
    for (int i = kUsual; i < kMaxGroup; ++i) use(i);
  }
}

// floor(group / groups_per_row) for numbers of at most 2^16: exact, since the reciprocal is less than 2^-32 too large.
class RowOfGroup {
 public:
  explicit RowOfGroup(uint32_t groups_per_row) : reciprocal_(((uint64_t{1} << 32) - 1) / groups_per_row + 1) {}

  uint32_t operator()(uint32_t group) const { return static_cast<uint32_t>(group * reciprocal_ >> 32); }

 private:
  uint64_t reciprocal_;  // ceil(2^32 / groups_per_row)
};

// kInOrder: groups follow each other without gaps, and no place is beyond its row.
template <SignMode kSigns, bool kInOrder>
void locate_codes(const DecodeTables& t, FilledGroups groups, LocatedCodes codes) {
  const Pattern* const all = t.patterns.all.data();
  const uint32_t* const places = t.places.data();
  const uint8_t *const shares = t.place_share.data(), *const token_class = t.token_class.data();
  const uint32_t size = static_cast<uint32_t>(t.p.group()), width = t.p.groups_per_row(), length = t.p.row_length;
  const RowOfGroup row_of(width);
  uint32_t* position = codes.positions;
  uint8_t *of_token = codes.token_classes, *of_sign = codes.sign_classes;
  for (std::size_t k = 0; k < groups.count; ++k) {
    const Pattern& pattern = all[groups.patterns[k]];
    const uint32_t group = group_of(groups.filled[k]), row = row_of(group), first_place = (group - row * width) * size;
    const uint32_t first = kInOrder ? group * size : row * length;
    for_codes(pattern.count, [=, &pattern](int i) {
      const uint32_t place = pattern.places[i];
      position[i] = first + (kInOrder ? place : places[first_place + place]);
      if constexpr (kSigns == SignMode::kColumn) of_sign[i] = shares[first_place + place];
    });
    if constexpr (kSigns == SignMode::kKernel) std::memcpy(of_sign, &pattern, kCopied);  // the neighbours come first
    std::memset(of_token, token_class[class_of(groups.filled[k])], kCopied);
    position += pattern.count;
    of_token += pattern.count;
    of_sign += pattern.count;
  }
}

}  // namespace

void locate(const DecodeTables& tables, FilledGroups groups, LocatedCodes codes) {
  const Parameters& p = tables.p;
  const bool in_order = (p.kernel != 0 || p.column_scale.empty()) && p.row_length % p.group() == 0;
  switch (p.sign_mode) {
    case SignMode::kRaw:
      return in_order ? locate_codes<SignMode::kRaw, true>(tables, groups, codes)
                      : locate_codes<SignMode::kRaw, false>(tables, groups, codes);
    case SignMode::kColumn:
      return in_order ? locate_codes<SignMode::kColumn, true>(tables, groups, codes)
                      : locate_codes<SignMode::kColumn, false>(tables, groups, codes);
    case SignMode::kKernel:
      return locate_codes<SignMode::kKernel, true>(tables, groups, codes);
  }
}

// In the order of the codes: the reference comes first.
void resolve_references(const DecodeTables& tables, FilledGroups groups, const uint8_t* different, uint8_t* negative) {
  const Pattern* const all = tables.patterns.all.data();
  for (std::size_t k = 0; k < groups.count; ++k) {
    const Pattern& pattern = all[groups.patterns[k]];
    negative[0] = different[0];
    for_codes(pattern.count, [=, &pattern](int i) {
      if (i > 0) negative[i] = different[i] ^ negative[pattern.ranks[i]];
    });
    different += pattern.count;
    negative += pattern.count;
  }
}

}  // namespace opq::grouped
