#include <algorithm>
#include <array>
#include <bit>
#include <exception>
#include <mutex>

#include "format/grouped/fit.h"
#include "format/grouped/grouped.h"
#include "format/grouped/magnitudes.h"
#include "format/grouped/signs.h"

namespace opq {
namespace grouped {
namespace {

constexpr uint32_t kLowest = 1 << 16;

struct Range {
  uint32_t frequency, start;
};

// Takes symbols from the last to the first, since a decoder pops what was pushed last.
class StateEncoder {
 public:
  StateEncoder(const std::vector<uint16_t>& passengers) {
    for (const uint16_t passenger : passengers) states_.push_back(kLowest | passenger);
  }

  // One pass: `size` symbols, range_of(i) for i from size - 1 down to 0.
  template <typename RangeOf>
  void push(std::size_t size, const RangeOf& range_of) {
    for (std::size_t i = size; i-- > 0;) {
      const Range range = range_of(i);
      uint32_t& state = states_[i % states_.size()];
      if (state >= uint64_t{range.frequency} << 20) {
        words_.push_back(static_cast<uint16_t>(state));
        state >>= 16;
      }
      state = (state / range.frequency << kScaleBits) + state % range.frequency + range.start;
    }
  }

  // Appends the states, then the words.
  void finish(std::vector<uint8_t>& bytes) {
    std::reverse(words_.begin(), words_.end());
    append(bytes, states_);
    append(bytes, words_);
  }

 private:
  template <typename T>
  static void append(std::vector<uint8_t>& bytes, const std::vector<T>& values) {
    const auto* begin = reinterpret_cast<const uint8_t*>(values.data());
    bytes.insert(bytes.end(), begin, begin + values.size() * sizeof(T));
  }

  std::vector<uint32_t> states_;
  std::vector<uint16_t> words_;
};

// Bits, the first one lowest.
class BitWriter {
 public:
  void put(uint32_t value, int bits) {
    for (int i = 0; i < bits; ++i, ++count_) {
      if (count_ % 8 == 0) bytes_.push_back(0);
      bytes_.back() = static_cast<uint8_t>(bytes_.back() | (value >> i & 1) << count_ % 8);
    }
  }

  uint64_t count() const { return count_; }
  std::vector<uint8_t>& bytes() { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
  uint64_t count_ = 0;
};

// What all chunks of a stream share.
struct Tables {
  const Parameters& p;
  std::vector<uint32_t> places;
  std::vector<int32_t> group_scale;
  std::vector<std::array<Range, kMaxGroup + 1>> counts;  // by bucket
  std::vector<Range> masks;                              // by mask
  std::vector<std::vector<Range>> tokens;                // by class

  explicit Tables(const Parameters& parameters)
      : p(parameters), places(p.places()), group_scale(p.group_scale(places)) {
    const CountFrequencies& frequencies = count_frequencies(p.group(), p.dispersion);
    counts.resize(kBuckets);
    for (int b = 0; b < kBuckets; ++b) {
      uint32_t start = 0;
      for (int c = 0; c <= p.group(); ++c) {
        counts[b][c] = {frequencies[b][c], start};
        start += frequencies[b][c];
      }
    }
    masks.resize(std::size_t{1} << p.group());
    for (int count = 1; count <= p.group(); ++count) {
      const std::vector<uint16_t>& patterns = grouped::masks(p.group(), count);
      uint16_t starts[kMaxPatterns + 1];
      p.mask_starts_of(count, starts);
      for (std::size_t i = 0; i < patterns.size(); ++i) {
        masks[patterns[i]] = {static_cast<uint32_t>(starts[i + 1] - starts[i]), starts[i]};
      }
    }
    if (p.tokens < 2) return;
    for (int c = 0; c < p.classes(); ++c) {
      uint16_t token_frequency[kMaxTokens];
      const std::size_t size = static_cast<std::size_t>(p.tokens - 1);
      token_frequencies({p.hazards.data() + c * size, size}, token_frequency);
      std::vector<Range>& ranges = tokens.emplace_back();
      uint32_t start = 0;
      for (int s = 0; s < p.tokens; ++s) {
        ranges.push_back({token_frequency[s], start});
        start += token_frequency[s];
      }
    }
  }
};

std::vector<uint8_t> encode_chunk(const Source& source, const Tables& t, uint64_t first_row, uint64_t rows) {
  const Parameters& p = t.p;
  const int size = p.group();
  const std::size_t width = p.groups_per_row(), groups = rows * width;
  std::vector<int32_t> values(rows * p.row_length);
  source.load(first_row * p.row_length, values.size(), values.data());

  std::vector<uint16_t> masks(groups);
  std::vector<uint8_t> buckets(groups), counts(groups);
  std::vector<uint32_t> filled;                   // groups that are not empty
  std::vector<uint8_t> tokens, classes, symbols;  // by nonzero code
  std::vector<uint16_t> sign_frequency;
  BitWriter raw;
  for (std::size_t group = 0; group < groups; ++group) {
    const std::size_t row = group / width, column = group % width;
    const uint32_t* places = t.places.data() + column * size;
    int32_t codes[kMaxGroup];
    unsigned mask = 0;
    for (int i = 0; i < size; ++i) {
      codes[i] = places[i] < p.row_length ? values[row * p.row_length + places[i]] : 0;
      mask |= static_cast<unsigned>(codes[i] != 0) << i;
    }
    masks[group] = static_cast<uint16_t>(mask);
    const int count = std::popcount(mask);
    counts[group] = static_cast<uint8_t>(count);
    const int bucket = p.bucket(p.row_scale.empty() ? 0 : p.row_scale[first_row + row], t.group_scale[column]);
    buckets[group] = static_cast<uint8_t>(bucket);
    if (count > 0) filled.push_back(static_cast<uint32_t>(group));
    const int kind = p.density_class(bucket) * p.count_classes + p.count_class(count);
    for (unsigned left = mask; left != 0; left &= left - 1) {
      const int place = std::countr_zero(left);
      const int32_t code = codes[place];
      const uint32_t m = (code < 0 ? 0u - static_cast<uint32_t>(code) : static_cast<uint32_t>(code)) - 1;
      const int token = token_of(m);
      tokens.push_back(static_cast<uint8_t>(token));
      classes.push_back(static_cast<uint8_t>(kind));
      raw.put(m - least_of(token), extra_bits(token));
      bool symbol = code < 0;
      if (p.sign_mode == SignMode::kKernel) {
        const Reference& near = references(size)[mask][place];
        symbol ^= near.place < size && codes[near.place] < 0;
        sign_frequency.push_back(static_cast<uint16_t>(p.sign_frequency(p.sign_shares[near.neighbours])));
      } else if (p.sign_mode == SignMode::kColumn) {
        const std::size_t of = p.kernel != 0 ? column : places[place];
        sign_frequency.push_back(static_cast<uint16_t>(p.sign_frequency(p.sign_shares[of])));
      }
      symbols.push_back(symbol);
    }
  }

  // The first raw bits ride in the states.
  const std::size_t riding = 16 * static_cast<std::size_t>(p.lanes());
  const std::size_t total = symbols.size();
  const std::size_t raw_signs = p.sign_mode == SignMode::kRaw
                                    ? total
                                    : std::min<std::size_t>(total, riding > raw.count() ? riding - raw.count() : 0);
  for (std::size_t i = 0; i < raw_signs; ++i) raw.put(symbols[i], 1);
  std::vector<uint8_t>& bits = raw.bytes();
  if (bits.size() < riding / 8) bits.resize(riding / 8);
  std::vector<uint16_t> passengers(static_cast<std::size_t>(p.lanes()));
  std::memcpy(passengers.data(), bits.data(), riding / 8);

  StateEncoder encoder(passengers);
  if (p.sign_mode != SignMode::kRaw) {
    encoder.push(total - raw_signs, [&](std::size_t i) -> Range {
      const uint32_t frequency = sign_frequency[raw_signs + i];
      return symbols[raw_signs + i] ? Range{frequency, 0} : Range{kScale - frequency, frequency};
    });
  }
  if (p.tokens > 1) encoder.push(total, [&](std::size_t i) { return t.tokens[classes[i]][tokens[i]]; });
  encoder.push(filled.size(), [&](std::size_t i) { return t.masks[masks[filled[i]]]; });
  encoder.push(groups, [&](std::size_t i) { return t.counts[buckets[i]][counts[i]]; });
  std::vector<uint8_t> chunk;
  encoder.finish(chunk);
  chunk.insert(chunk.end(), bits.begin() + static_cast<std::ptrdiff_t>(riding / 8), bits.end());
  return chunk;
}

void append_varint(std::vector<uint8_t>& bytes, std::size_t value) {
  for (; value >= 128; value >>= 7) bytes.push_back(static_cast<uint8_t>(value | 128));
  bytes.push_back(static_cast<uint8_t>(value));
}

}  // namespace
}  // namespace grouped

CodeLayout code_layout(const std::vector<uint64_t>& shape) {
  using namespace grouped;
  // The product of the axes from `first` on, or one above the limit.
  const auto product = [&shape](std::size_t first) {
    uint64_t result = 1;
    for (std::size_t i = first; i < shape.size(); ++i) result = std::min<uint64_t>(result * shape[i], kChunkCodes + 1);
    return result;
  };
  if (shape.size() > 2 && product(2) >= kMinKernel && product(2) <= kMaxGroup && product(1) <= kChunkCodes) {
    return {static_cast<uint32_t>(product(1)), static_cast<int>(product(2))};
  }
  for (std::size_t first = 1; first < shape.size(); ++first) {
    const uint64_t length = product(first);
    if (length > kChunkCodes) continue;
    if (length > 0 && (length % kColumnGroup == 0 || length >= 8 * kColumnGroup)) {
      return {static_cast<uint32_t>(length), 0};
    }
    break;
  }
  return {4096, 0};
}

std::vector<uint8_t> encode_grouped(const void* codes, CodeType type, std::size_t count, CodeLayout layout,
                                    const Parallel& parallel) {
  using namespace grouped;
  if (count < 1 || count > uint64_t{1} << 32) {
    throw Error(ErrorCode::kInput, "a grouped stream holds 1 to 2^32 codes, not " + std::to_string(count));
  }
  const bool kernels = layout.kernel != 0;
  if (layout.row_length < 1 || layout.row_length > kChunkCodes ||
      (kernels &&
       (layout.kernel < kMinKernel || layout.kernel > kMaxGroup || layout.row_length % layout.kernel != 0))) {
    throw Error(ErrorCode::kInput, "rows of " + std::to_string(layout.row_length) + " codes with kernels of " +
                                       std::to_string(layout.kernel) + " are no layout of a grouped stream");
  }
  const Source source{codes, type, count};
  const Parameters p = fit(source, layout, parallel);
  const Tables tables(p);
  std::vector<std::vector<uint8_t>> chunks(p.chunks());
  std::mutex mutex;
  std::exception_ptr failure;
  parallel.run(static_cast<int>(chunks.size()), [&](int chunk, int) {
    try {
      const uint64_t first = chunk * p.rows_per_chunk();
      chunks[chunk] = encode_chunk(source, tables, first, std::min(p.rows_per_chunk(), p.rows() - first));
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);

  const std::vector<uint8_t> parameters = encode_parameters(p);
  std::vector<uint8_t> stream;
  append_varint(stream, parameters.size());
  stream.insert(stream.end(), parameters.begin(), parameters.end());
  for (std::size_t i = 0; i + 1 < chunks.size(); ++i) append_varint(stream, chunks[i].size());
  for (const auto& chunk : chunks) stream.insert(stream.end(), chunk.begin(), chunk.end());
  return stream;
}

}  // namespace opq
