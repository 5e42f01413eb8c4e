// The parameters of a grouped stream and what follows from them. Mirrors src/opq/reference/grouped/parameters.py.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "format/bytes.h"
#include "format/grouped/tables.h"

namespace opq::grouped {

inline constexpr int kColumnGroup = 8;  // codes per group where columns are grouped by their scale
inline constexpr uint32_t kChunkCodes = 1 << 18;
inline constexpr int kLargestScale = 31;
inline constexpr uint64_t kMostScales = 1 << 20;                 // along one axis
inline constexpr std::array<int, 4> kScaleUnits = {4, 6, 3, 8};  // buckets per unit of a scale

enum class SignMode : uint8_t { kRaw, kColumn, kKernel };

struct Parameters {
  Parameters(uint64_t codes, uint32_t codes_per_row) : count(codes), row_length(codes_per_row) {}

  uint64_t count;       // codes in all, seen as rows of row_length codes; the last row is filled up with zeros
  uint32_t row_length;  // 1..2^18
  int kernel = 0;       // 0: groups are 8 columns of like scale; 4..10: that many neighbouring codes
  int base = 0;         // bucket of a group in a row and column of scale 0
  int dispersion = 0;   // index of the concentration of the counts
  int scale_unit = kScaleUnits[0];
  std::vector<int8_t> row_scale, column_scale;  // per row, per column; empty: all 0
  std::vector<int8_t> mask_weights;             // by mask, kernels only; empty: all 0
  int tokens = 0;                               // of magnitudes; 0 where no code is nonzero
  std::vector<uint8_t> boundaries;              // first bucket of each density class but the lowest: 0, 2 or 4 of them
  int count_classes = 1;                        // 1, 3 or 5
  std::vector<uint8_t> hazards;                 // [classes][tokens - 1]
  SignMode sign_mode = SignMode::kRaw;
  std::vector<uint8_t> sign_shares;  // of negative signs per column in 1/16; of differing ones per class in 1/64

  int group() const { return kernel != 0 ? kernel : kColumnGroup; }
  uint64_t rows() const { return (count + row_length - 1) / row_length; }
  uint32_t columns() const { return kernel != 0 ? row_length / kernel : row_length; }
  uint32_t groups_per_row() const { return (row_length + group() - 1) / group(); }
  // As many rows as have at most 2^18 codes, one at least.
  uint64_t rows_per_chunk() const {
    const uint64_t padded = uint64_t{groups_per_row()} * group();
    return padded > kChunkCodes ? 1 : kChunkCodes / padded;
  }
  uint64_t chunks() const { return (rows() + rows_per_chunk() - 1) / rows_per_chunk(); }
  int lanes() const { return count >> 16 ? 8 : count >> 14 ? 4 : count >> 12 ? 2 : 1; }
  int density_classes() const { return static_cast<int>(boundaries.size()) + 1; }
  int classes() const { return density_classes() * count_classes; }

  // [groups_per_row * group]: the column of each code of a row's groups; row_length where a group reaches beyond the
  // row. Columns are sorted by descending scale, those of one scale by place.
  std::vector<uint32_t> places() const;
  // [groups_per_row]: a kernel's column scale, or the mean of the group's columns, half rounded up; `places` as above.
  std::vector<int32_t> group_scale(const std::vector<uint32_t>& places) const;

  int bucket(int row, int group) const {  // of the scales of a row and a group
    const int b = base + scale_unit * (row + group);
    return b < 0 ? 0 : b >= kBuckets ? kBuckets - 1 : b;
  }
  // The lowest and the highest bucket of all rows and groups; group_scale as above.
  std::pair<int, int> bucket_range(const std::vector<int32_t>& group_scale) const;
  int density_class(int bucket) const {
    int result = 0;
    for (const uint8_t boundary : boundaries) result += bucket >= boundary;
    return result;
  }
  int count_class(int count) const {
    if (count_classes == 3) return (count > 1) + (count > 3);
    return count < 1 ? 0 : count > count_classes ? count_classes - 1 : count - 1;
  }
  // [patterns + 1]: start of the range of each mask of `count` nonzeros.
  void mask_starts_of(int count, uint16_t* starts) const;
  // Of a negative or differing sign with this share.
  int sign_frequency(int share) const {
    const int unit = sign_mode == SignMode::kColumn ? kScale / 16 : kScale / 64;
    return share * unit + unit / 2;
  }
};

// `count` is not among the bytes.
std::vector<uint8_t> encode_parameters(const Parameters& parameters);
// Throws Error(kFormat).
Parameters decode_parameters(Bytes bytes, uint64_t count);

}  // namespace opq::grouped
