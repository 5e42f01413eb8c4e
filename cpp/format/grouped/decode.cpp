#include <algorithm>
#include <mutex>
#include <numeric>

#include "format/grouped/chunk_reader.h"
#include "format/grouped/decode_tables.h"
#include "format/grouped/grouped.h"
#include "format/grouped/magnitudes.h"

namespace opq {
namespace grouped {
namespace {

// Working memory of one thread. The arrays by nonzero code have room behind the last one for a whole group, since every
// group writes as much as it could hold and the next one overwrites what was too much.
struct Scratch {
  std::vector<uint8_t> counts, buckets;  // by group
  std::vector<uint32_t> filled;          // groups that are not empty
  std::vector<uint16_t> masks;           // by filled group
  std::vector<uint32_t> positions;       // by nonzero code, in the chunk
  std::vector<uint8_t> classes, tokens, negative;
  std::vector<uint16_t> sign_frequency;
};

class ChunkDecoder {
 public:
  ChunkDecoder(const DecodeTables& tables, Scratch& scratch, Bytes chunk, uint64_t first_row, std::size_t codes)
      : t_(tables), p_(tables.p), s_(scratch), states_(chunk, tables.p.lanes()), first_row_(first_row), codes_(codes) {
    rows_ = (codes + p_.row_length - 1) / p_.row_length;
    groups_ = rows_ * p_.groups_per_row();
  }

  template <typename T>
  void decode(int64_t smallest, int64_t largest, T* codes) {
    pop_counts();
    pop_masks();
    find_positions();
    pop_tokens();
    const std::size_t raw_signs = pop_signs();
    uint16_t passengers[kMaxLanes];
    states_.finish(passengers);
    RawBits raw(passengers, p_.lanes(), states_.rest(), extra_ + raw_signs);
    std::vector<uint32_t> magnitudes;
    if (extra_ > 0) {
      magnitudes.resize(total_);
      for (std::size_t i = 0; i < total_; ++i) {
        magnitudes[i] = least_of(s_.tokens[i]) + raw.take(extra_bits(s_.tokens[i]));
      }
    }
    raw.take_ones(raw_signs, s_.negative.data());
    raw.finish();
    if (p_.sign_mode == SignMode::kKernel) resolve_references();
    std::fill_n(codes, codes_, T{0});
    if (extra_ > 0) {
      place(codes, smallest, largest, magnitudes.data());
    } else {
      for (std::size_t i = 0; i < total_; ++i) s_.tokens[i] = static_cast<uint8_t>(least_of(s_.tokens[i]));
      place(codes, smallest, largest, s_.tokens.data());
    }
  }

 private:
  void pop_counts() {
    const std::size_t width = p_.groups_per_row();
    s_.counts.resize(groups_);
    s_.buckets.resize(groups_);
    for (std::size_t row = 0; row < rows_; ++row) {
      const int scale = p_.row_scale.empty() ? 0 : p_.row_scale[first_row_ + row];
      uint8_t* buckets = s_.buckets.data() + row * width;
      for (std::size_t group = 0; group < width; ++group) {
        buckets[group] = static_cast<uint8_t>(p_.bucket(scale, t_.group_scale[group]));
      }
    }
    const uint8_t* buckets = s_.buckets.data();
    uint8_t* counts = s_.counts.data();
    const SlotTable* tables = t_.counts.get();
    const int first = t_.first_bucket;
    states_.pop(groups_, [=](std::size_t i, uint32_t slot) {
      const SlotTable& table = tables[buckets[i] - first];
      const uint8_t count = table.symbol[slot];
      counts[i] = count;
      return table.range[count];
    });
    total_ = std::accumulate(s_.counts.begin(), s_.counts.end(), std::size_t{0});
    if (total_ > 0 && p_.tokens == 0) fail("nonzero codes without magnitudes");
  }

  void pop_masks() {
    const int size = p_.group();
    s_.filled.resize(groups_ + 1);
    filled_ = 0;
    for (std::size_t i = 0; i < groups_; ++i) {
      s_.filled[filled_] = static_cast<uint32_t>(i);
      filled_ += s_.counts[i] > 0;
    }
    s_.masks.resize(filled_);
    const uint16_t* patterns[kMaxGroup + 1] = {};
    for (int count = 1; count <= size; ++count) patterns[count] = masks(size, count).data();
    const uint8_t* counts = s_.counts.data();
    const uint32_t* groups = s_.filled.data();
    uint16_t* result = s_.masks.data();
    const SlotTable* tables = t_.masks.data();
    states_.pop(filled_, [=](std::size_t i, uint32_t slot) {
      const uint8_t count = counts[groups[i]];
      const uint8_t index = tables[count].symbol[slot];
      result[i] = patterns[count][index];
      return tables[count].range[index];
    });
  }

  // Runs use(k, row, group of the row) for every filled group k.
  template <typename Use>
  void for_filled(const Use& use) const {
    const std::size_t width = p_.groups_per_row();
    std::size_t row = 0, end = width;
    for (std::size_t k = 0; k < filled_; ++k) {
      const std::size_t group = s_.filled[k];
      for (; group >= end; end += width) ++row;
      use(k, row, group + width - end);
    }
  }

  void find_positions() {
    const std::size_t size = static_cast<std::size_t>(p_.group());
    s_.positions.resize(total_ + kMaxGroup);
    uint32_t* positions = s_.positions.data();
    for_filled([&](std::size_t k, std::size_t row, std::size_t group) {
      const uint32_t first = static_cast<uint32_t>(row * p_.row_length);
      const uint32_t* places = t_.places.data() + group * size;
      const auto& [bits, count] = t_.set_bits[s_.masks[k]];
      for (std::size_t i = 0; i < size; ++i) positions[i] = first + places[bits[i]];
      positions += count;
    });
    const uint32_t most = std::accumulate(s_.positions.data(), s_.positions.data() + total_, uint32_t{0},
                                          [](uint32_t a, uint32_t b) { return std::max(a, b); });
    if (total_ > 0 && most >= codes_) fail("a nonzero code beyond the end of its row or behind the last one");
  }

  void pop_tokens() {
    s_.tokens.resize(total_);
    extra_ = 0;
    if (p_.tokens < 2) {
      std::fill(s_.tokens.begin(), s_.tokens.end(), uint8_t{0});
      return;
    }
    s_.classes.resize(total_ + kMaxGroup);
    uint8_t* classes = s_.classes.data();
    for (std::size_t k = 0; k < filled_; ++k) {
      const std::size_t group = s_.filled[k];
      const uint8_t count = s_.counts[group];
      std::memset(classes, t_.density_class[s_.buckets[group]] + t_.count_class[count], kMaxGroup);
      classes += count;
    }
    const uint8_t* of = s_.classes.data();
    uint8_t* tokens = s_.tokens.data();
    const SlotTable* tables = t_.tokens.get();
    states_.pop(total_, [=](std::size_t i, uint32_t slot) {
      const SlotTable& table = tables[of[i]];
      const uint8_t token = table.symbol[slot];
      tokens[i] = token;
      return table.range[token];
    });
    if (p_.tokens > kDirectTokens) {
      for (std::size_t i = 0; i < total_; ++i) extra_ += static_cast<uint64_t>(extra_bits(tokens[i]));
    }
  }

  // Returns the number of signs, the first ones, that are raw bits: all, or those that ride in the states.
  std::size_t pop_signs() {
    s_.negative.resize(total_);
    if (p_.sign_mode == SignMode::kRaw) return total_;
    s_.sign_frequency.resize(total_ + kMaxGroup);
    uint16_t* into = s_.sign_frequency.data();
    const std::size_t size = static_cast<std::size_t>(p_.group());
    if (p_.sign_mode == SignMode::kKernel) {
      for (std::size_t k = 0; k < filled_; ++k) {
        const auto& reference = (*t_.ranked)[s_.masks[k]];
        for (std::size_t i = 0; i < size; ++i) into[i] = t_.sign_frequency[reference[i].neighbours];
        into += t_.set_bits[s_.masks[k]].count;
      }
    } else {
      for_filled([&](std::size_t k, std::size_t, std::size_t group) {
        const uint16_t* here = t_.place_frequency.data() + group * size;
        const auto& [bits, count] = t_.set_bits[s_.masks[k]];
        for (std::size_t i = 0; i < size; ++i) into[i] = here[bits[i]];
        into += count;
      });
    }
    const uint64_t riding = 16 * static_cast<uint64_t>(p_.lanes());
    const std::size_t raw = std::min<std::size_t>(total_, riding > extra_ ? riding - extra_ : 0);
    const uint16_t* frequencies = s_.sign_frequency.data() + raw;
    uint8_t* negative = s_.negative.data() + raw;
    states_.pop(total_ - raw, [=](std::size_t k, uint32_t slot) {
      const uint32_t frequency = frequencies[k], minus = slot < frequency;
      negative[k] = static_cast<uint8_t>(minus);
      const uint32_t plus_range = (kScale - frequency) << 16 | frequency;
      return plus_range + (0 - minus) * (plus_range - (frequency << 16));  // frequency << 16 where minus
    });
    return raw;
  }

  // From "differs from its reference" to "is negative", in the order of the codes: the reference comes first.
  void resolve_references() {
    uint8_t* negative = s_.negative.data();
    for (std::size_t k = 0; k < filled_; ++k) {
      const int count = t_.set_bits[s_.masks[k]].count;
      const auto& reference = (*t_.ranked)[s_.masks[k]];
      for (int i = 1; i < count; ++i) negative[i] ^= negative[reference[i].rank];
      negative += count;
    }
  }

  template <typename T, typename M>
  void place(T* codes, int64_t smallest, int64_t largest, const M* magnitudes) const {
    int64_t least = 0, most = 0;
    for (std::size_t i = 0; i < total_; ++i) {
      const int64_t minus = s_.negative[i], magnitude = int64_t{magnitudes[i]} + 1;
      const int64_t code = (magnitude ^ -minus) + minus;
      least = std::min(least, code);
      most = std::max(most, code);
      codes[s_.positions[i]] = static_cast<T>(code);
    }
    if (least < smallest || most > largest) fail("a code is larger than its levels");
  }

  const DecodeTables& t_;
  const Parameters& p_;
  Scratch& s_;
  States states_;
  uint64_t first_row_;
  std::size_t codes_, rows_, groups_, filled_ = 0, total_ = 0;
  uint64_t extra_ = 0;  // bits of the magnitudes that are stored as they are
};

// 7 bits per byte, lowest first, bit 7 set while more follow; at most 5 bytes, no unneeded last one.
uint64_t read_varint(ByteReader& reader) {
  uint64_t value = 0;
  for (int i = 0; i < 5; ++i) {
    const uint8_t byte = reader.u8("a length");
    value |= static_cast<uint64_t>(byte & 127) << 7 * i;
    if (byte < 128) {
      if (i > 0 && byte == 0) break;
      return value;
    }
  }
  reader.fail("a length is not a varint of at most 5 bytes");
}

}  // namespace
}  // namespace grouped

void decode_grouped(Bytes stream, int64_t smallest, int64_t largest, void* codes, CodeType type, std::size_t count,
                    const Parallel& parallel) {
  using namespace grouped;
  ByteReader reader(stream, "grouped stream");
  const uint64_t size = read_varint(reader);
  const DecodeTables tables(decode_parameters(reader.bytes(size, "the parameters"), count));
  const uint64_t step = tables.p.rows_per_chunk() * tables.p.row_length;
  const uint64_t chunks = tables.p.chunks();
  if (chunks - 1 > reader.remaining()) reader.fail("the lengths of the chunks are cut off");
  std::vector<uint64_t> ends(chunks);
  for (uint64_t i = 0; i + 1 < chunks; ++i) ends[i] = (i > 0 ? ends[i - 1] : 0) + read_varint(reader);
  const Bytes data = reader.bytes(reader.remaining(), "the chunks");
  if (chunks > 1 && ends[chunks - 2] > data.size()) reader.fail("the chunks are cut off");
  ends[chunks - 1] = data.size();

  std::vector<Scratch> scratch(static_cast<std::size_t>(parallel.threads));
  std::mutex mutex;
  std::string message;
  parallel.run(static_cast<int>(chunks), [&](int chunk, int thread) {
    const std::size_t begin = chunk > 0 ? ends[chunk - 1] : 0, first = chunk * step;
    const std::size_t codes_here = std::min<std::size_t>(step, count - first);
    try {
      ChunkDecoder decoder(tables, scratch[thread], data.subspan(begin, ends[chunk] - begin),
                           chunk * tables.p.rows_per_chunk(), codes_here);
      with_code_type(type, [&](auto tag) {
        using Code = typename decltype(tag)::type;
        decoder.decode(smallest, largest, static_cast<Code*>(codes) + first);
      });
    } catch (const std::exception& error) {
      const std::lock_guard lock(mutex);
      message = error.what();
    }
  });
  if (!message.empty()) throw Error(ErrorCode::kFormat, message);
}

}  // namespace opq
