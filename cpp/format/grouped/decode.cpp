#include <algorithm>
#include <memory>
#include <mutex>

#include "format/grouped/chunk_reader.h"
#include "format/grouped/decode_tables.h"
#include "format/grouped/grouped.h"
#include "format/grouped/locate.h"
#include "format/grouped/magnitudes.h"

namespace opq {
namespace grouped {
namespace {

// An array that grows to what is asked for, and keeps nothing then. A vector would set and copy its elements.
template <typename T>
class Buffer {
 public:
  // The first `size` elements, with room for a whole group behind them.
  T* with_room(std::size_t size) {
    if (capacity_ < size + kCopied) {
      capacity_ = size + kCopied;
      elements_.reset(new T[capacity_]);
    }
    return data();
  }
  T* data() const { return elements_.get(); }

 private:
  std::unique_ptr<T[]> elements_;
  std::size_t capacity_ = 0;
};

// Working memory of one thread.
struct Scratch {
  Buffer<uint8_t> buckets;    // by group, from the first one that occurs
  Buffer<uint32_t> filled;    // groups that are not empty, see decode_tables.h
  Buffer<uint16_t> patterns;  // by filled group
  // By nonzero code.
  Buffer<uint32_t> positions;  // in the chunk
  Buffer<uint8_t> token_classes, sign_classes, tokens, negative, different;
  Buffer<uint32_t> magnitudes;  // where they have extra bits
};

// Decodes a chunk in passes over arrays. What is decoded is as good as random, so no loop branches on it more often
// than can be helped: a mispredicted branch costs as much as decoding three symbols.
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
    locate_codes();
    pop_tokens();
    const std::size_t raw_signs = pop_signs();
    uint16_t passengers[kMaxLanes];
    states_.finish(passengers);
    RawBits raw(passengers, p_.lanes(), states_.rest(), extra_ + raw_signs);
    if (extra_ > 0) {
      const uint8_t* const tokens = s_.tokens.data();
      uint32_t* const magnitudes = s_.magnitudes.with_room(total_);
      for (std::size_t i = 0; i < total_; ++i) {
        magnitudes[i] = least_of(tokens[i]) + raw.take(extra_bits(tokens[i]));
      }
    }
    raw.take_ones(raw_signs, s_.negative.data());
    raw.finish();
    if (p_.sign_mode == SignMode::kKernel) {
      std::swap(s_.negative, s_.different);
      resolve_references(t_, filled_groups(), s_.different.data(), s_.negative.with_room(total_));
    }
    std::fill_n(codes, codes_, T{0});
    if (extra_ > 0) {
      place(codes, smallest, largest, s_.magnitudes.data());
    } else {
      place(codes, smallest, largest, s_.tokens.data());  // without extra bits a token is a magnitude
    }
  }

 private:
  void pop_counts() {
    const std::size_t width = p_.groups_per_row();
    uint8_t* const buckets = s_.buckets.with_room(groups_);
    const int16_t* const group_scale = t_.group_scale.data();
    const int16_t unit = static_cast<int16_t>(p_.scale_unit);
    const int16_t first = static_cast<int16_t>(t_.first_bucket), last = static_cast<int16_t>(t_.last_bucket);
    for (std::size_t row = 0; row < rows_; ++row) {
      const int scale = p_.row_scale.empty() ? 0 : p_.row_scale[first_row_ + row];
      const int16_t base = static_cast<int16_t>(p_.base + unit * scale);
      uint8_t* const of_row = buckets + row * width;
      for (std::size_t group = 0; group < width; ++group) {
        const int16_t bucket = static_cast<int16_t>(base + unit * group_scale[group]);
        of_row[group] = static_cast<uint8_t>(std::clamp(bucket, first, last) - first);
      }
    }
    uint32_t* const filled = s_.filled.with_room(groups_);
    const SlotTable* const tables = t_.counts.get();
    std::size_t n = 0;
    states_.pop(groups_, [=, &n](std::size_t i, uint32_t state) {
      const uint32_t symbol = tables[buckets[i]].pop(state);
      filled[n] = static_cast<uint32_t>(i << 8) | symbol;
      n += count_of(symbol) > 0;
      return state;
    });
    filled_ = n;
    uint32_t total = 0;
    for (std::size_t k = 0; k < n; ++k) total += count_of(filled[k]);
    total_ = total;
    if (total_ > 0 && p_.tokens == 0) fail("nonzero codes without magnitudes");
  }

  void pop_masks() {
    const uint32_t* const filled = s_.filled.data();
    uint16_t* const patterns = s_.patterns.with_room(filled_);
    const SlotTable* const tables = t_.masks.get();
    const uint16_t* const first_of = t_.patterns.first_of.data();
    states_.pop(filled_, [=](std::size_t k, uint32_t state) {
      const uint32_t count = count_of(filled[k]);
      patterns[k] = static_cast<uint16_t>(first_of[count] + tables[count].pop(state));
      return state;
    });
  }

  FilledGroups filled_groups() const { return {s_.filled.data(), s_.patterns.data(), filled_}; }

  void locate_codes() {
    uint32_t* const positions = s_.positions.with_room(total_);
    locate(t_, filled_groups(), {positions, s_.token_classes.with_room(total_), s_.sign_classes.with_room(total_)});
    uint32_t last = 0;
    for (std::size_t i = 0; i < total_; ++i) last = std::max(last, positions[i]);
    if (total_ > 0 && last >= codes_) fail("a nonzero code beyond the end of its row or behind the last one");
  }

  void pop_tokens() {
    uint8_t* const tokens = s_.tokens.with_room(total_);
    extra_ = 0;
    if (p_.tokens < 2) {
      std::fill_n(tokens, total_, uint8_t{0});
      return;
    }
    const uint8_t* const classes = s_.token_classes.data();
    const SlotTable* const tables = t_.tokens.get();
    states_.pop(total_, [=](std::size_t i, uint32_t state) {
      tokens[i] = static_cast<uint8_t>(tables[classes[i]].pop(state));
      return state;
    });
    if (p_.tokens > kDirectTokens) {
      for (std::size_t i = 0; i < total_; ++i) extra_ += static_cast<uint64_t>(extra_bits(tokens[i]));
    }
  }

  // Returns the number of signs, the first ones, that are raw bits: all, or those that ride in the states.
  std::size_t pop_signs() {
    uint8_t* const negative = s_.negative.with_room(total_);
    if (p_.sign_mode == SignMode::kRaw) return total_;
    const uint8_t* const classes = s_.sign_classes.data();
    const uint64_t riding = 16 * static_cast<uint64_t>(p_.lanes());
    const std::size_t raw = std::min<std::size_t>(total_, riding > extra_ ? riding - extra_ : 0);
    const uint16_t* const frequencies = t_.sign_frequency.data();
    states_.pop(total_ - raw, [=](std::size_t i, uint32_t state) {
      const uint32_t frequency = frequencies[classes[raw + i]], slot = slot_of(state);
      const uint32_t share = frequency * (state >> kScaleBits);
      const bool minus = slot < frequency;
      negative[raw + i] = minus;
      return minus ? share + slot : state - share - frequency;
    });
    return raw;
  }

  // magnitudes: |code| - 1; the codes take their place, as signed numbers of the same width.
  template <typename T, typename M>
  void place(T* codes, int64_t smallest, int64_t largest, M* magnitudes) const {
    const std::size_t total = total_;
    const uint8_t* const negative = s_.negative.data();
    M least = 0, most = 0;
    for (std::size_t i = 0; i < total; ++i) {
      const M minus = static_cast<M>(0 - negative[i]), size = static_cast<M>(magnitudes[i] + 1);
      least = std::max<M>(least, size & minus);
      most = std::max<M>(most, size & ~minus);
      magnitudes[i] = static_cast<M>((size ^ minus) - minus);
    }
    if (-int64_t{least} < smallest || most > largest) fail("a code is larger than its levels");
    const uint32_t* const positions = s_.positions.data();
#pragma GCC unroll 4  // so few instructions take half as long again where they straddle two cache lines
    for (std::size_t i = 0; i < total; ++i) {
      codes[positions[i]] = static_cast<T>(static_cast<std::make_signed_t<M>>(magnitudes[i]));
    }
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

struct GroupedReader::Impl {
  int64_t smallest, largest;
  CodeType type;
  std::size_t count, chunk_codes;
  grouped::DecodeTables tables;
  Bytes data;
  std::vector<uint64_t> ends;             // of chunks in data
  std::vector<grouped::Scratch> scratch;  // by thread
};

GroupedReader::GroupedReader(Bytes stream, int64_t smallest, int64_t largest, CodeType type, std::size_t count) {
  using namespace grouped;
  ByteReader reader(stream, "grouped stream");
  const uint64_t size = read_varint(reader);
  DecodeTables tables(decode_parameters(reader.bytes(size, "the parameters"), count));
  const uint64_t chunks = tables.p.chunks();
  if (chunks - 1 > reader.remaining()) reader.fail("the lengths of the chunks are cut off");
  std::vector<uint64_t> ends(chunks);
  for (uint64_t i = 0; i + 1 < chunks; ++i) ends[i] = (i > 0 ? ends[i - 1] : 0) + read_varint(reader);
  const Bytes data = reader.bytes(reader.remaining(), "the chunks");
  if (chunks > 1 && ends[chunks - 2] > data.size()) reader.fail("the chunks are cut off");
  ends[chunks - 1] = data.size();
  const std::size_t step = tables.p.rows_per_chunk() * tables.p.row_length;
  impl_.reset(new Impl{smallest, largest, type, count, step, std::move(tables), data, std::move(ends), {}});
}

GroupedReader::~GroupedReader() = default;

std::size_t GroupedReader::chunks() const { return impl_->ends.size(); }
std::size_t GroupedReader::chunk_codes() const { return impl_->chunk_codes; }

void GroupedReader::decode(std::size_t first, std::size_t last, void* codes, const Parallel& parallel) {
  Impl& impl = *impl_;
  const auto threads = static_cast<std::size_t>(parallel.threads);
  if (impl.scratch.size() < threads) impl.scratch.resize(threads);
  std::mutex mutex;
  std::string message;
  parallel.run(static_cast<int>(last - first), [&](int task, int thread) {
    const std::size_t chunk = first + static_cast<std::size_t>(task), place = chunk * impl.chunk_codes;
    const std::size_t begin = chunk > 0 ? impl.ends[chunk - 1] : 0;
    try {
      grouped::ChunkDecoder decoder(impl.tables, impl.scratch[static_cast<std::size_t>(thread)],
                                    impl.data.subspan(begin, impl.ends[chunk] - begin),
                                    chunk * impl.tables.p.rows_per_chunk(),
                                    std::min(impl.chunk_codes, impl.count - place));
      with_code_type(impl.type, [&](auto tag) {
        using Code = typename decltype(tag)::type;
        decoder.decode(impl.smallest, impl.largest, static_cast<Code*>(codes) + (place - first * impl.chunk_codes));
      });
    } catch (const std::exception& error) {
      const std::lock_guard lock(mutex);
      message = error.what();
    }
  });
  if (!message.empty()) throw Error(ErrorCode::kFormat, message);
}

void decode_grouped(Bytes stream, int64_t smallest, int64_t largest, void* codes, CodeType type, std::size_t count,
                    const Parallel& parallel) {
  GroupedReader reader(stream, smallest, largest, type, count);
  reader.decode(0, reader.chunks(), codes, parallel);
}

}  // namespace opq
