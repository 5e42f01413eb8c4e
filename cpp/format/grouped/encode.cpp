#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <exception>
#include <mutex>

#include "format/grouped/bit_writer.h"
#include "format/grouped/fit.h"
#include "format/grouped/grouped.h"
#include "format/grouped/magnitudes.h"
#include "format/grouped/signs.h"
#include "format/grouped/state_encoder.h"

namespace opq {
namespace grouped {
namespace {

// What all chunks of a stream share.
struct Tables {
  const Parameters& p;
  std::vector<uint32_t> places;
  std::vector<int32_t> group_scale;
  std::vector<std::array<Range, kMaxGroup + 1>> counts;  // by bucket
  std::vector<Range> masks;                              // by mask
  std::vector<std::vector<Range>> tokens;                // by class
  std::vector<std::array<Range, 2>> signs;               // by share: of 0 and 1
  const References& reference;                           // of kernels

  explicit Tables(const Parameters& parameters)
      : p(parameters), places(p.places()), group_scale(p.group_scale(places)), reference(references(p.group())) {
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
    for (const uint8_t share : p.sign_shares) {
      const uint32_t negative = static_cast<uint32_t>(p.sign_frequency(share));
      signs.push_back({Range(kScale - negative, negative), Range(negative, 0)});
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

// A chunk of codes as the symbols of the stream, in its order.
struct Symbols {
  Symbols(std::size_t groups, std::size_t codes)
      : buckets(groups), counts(groups), filled(groups), tokens(codes), classes(codes), signs(codes), shares(codes) {}

  std::vector<uint8_t> buckets, counts;  // of every group
  std::vector<uint16_t> filled;          // masks of the groups that are not empty
  // Of every nonzero code; the sign as it is stored, and the number of its share of the signs in `sign_shares`.
  std::vector<uint8_t> tokens, classes, signs;
  std::vector<uint32_t> shares;
  std::size_t nonempty = 0, nonzeros = 0;
  BitWriter raw;  // the extra bits
};

Symbols symbols_of(const Source& source, const Tables& t, uint64_t first_row, uint64_t rows) {
  const Parameters& p = t.p;
  const int size = p.group();
  const std::size_t width = p.groups_per_row();
  Symbols s(rows * width, rows * p.row_length);
  std::vector<int32_t> values(std::size_t{p.row_length} + 1);  // the last one is for places beyond the row
  for (std::size_t group = 0; group < rows * width; ++group) {
    const std::size_t row = first_row + group / width, column = group % width;
    if (column == 0) source.load(row * p.row_length, p.row_length, values.data());
    const uint32_t* places = t.places.data() + column * size;
    int32_t codes[kMaxGroup];
    unsigned mask = 0;
    for (int i = 0; i < size; ++i) {
      codes[i] = values[places[i]];
      mask |= static_cast<unsigned>(codes[i] != 0) << i;
    }
    const int count = std::popcount(mask);
    const int bucket = p.bucket(p.row_scale.empty() ? 0 : p.row_scale[row], t.group_scale[column]);
    s.buckets[group] = static_cast<uint8_t>(bucket);
    s.counts[group] = static_cast<uint8_t>(count);
    s.filled[s.nonempty] = static_cast<uint16_t>(mask);
    s.nonempty += count > 0;
    const int kind = p.density_class(bucket) * p.count_classes + p.count_class(count);
    for (unsigned left = mask; left != 0; left &= left - 1, ++s.nonzeros) {
      const int place = std::countr_zero(left);
      const int32_t code = codes[place];
      const uint32_t m = (code < 0 ? 0u - static_cast<uint32_t>(code) : static_cast<uint32_t>(code)) - 1;
      const int token = token_of(m);
      if (token >= kDirectTokens) s.raw.put(m - least_of(token), extra_bits(token));
      s.tokens[s.nonzeros] = static_cast<uint8_t>(token);
      s.classes[s.nonzeros] = static_cast<uint8_t>(kind);
      bool sign = code < 0;
      if (p.sign_mode == SignMode::kKernel) {
        const Reference& near = t.reference[mask][place];
        sign ^= near.place < size && codes[near.place] < 0;
        s.shares[s.nonzeros] = near.neighbours;
      } else if (p.sign_mode == SignMode::kColumn) {
        s.shares[s.nonzeros] = p.kernel != 0 ? static_cast<uint32_t>(column) : places[place];
      }
      s.signs[s.nonzeros] = sign;
    }
  }
  return s;
}

std::vector<uint8_t> encode_chunk(const Source& source, const Tables& t, uint64_t first_row, uint64_t rows) {
  const Parameters& p = t.p;
  Symbols s = symbols_of(source, t, first_row, rows);

  // The first raw bits ride in the states.
  const std::size_t riding = 16 * static_cast<std::size_t>(p.lanes());
  const std::size_t raw_signs =
      p.sign_mode == SignMode::kRaw
          ? s.nonzeros
          : std::min<std::size_t>(s.nonzeros, riding > s.raw.count() ? riding - s.raw.count() : 0);
  for (std::size_t i = 0; i < raw_signs; ++i) s.raw.put(s.signs[i], 1);
  std::vector<uint8_t> bits = s.raw.finish();
  if (bits.size() < riding / 8) bits.resize(riding / 8);
  std::vector<uint16_t> passengers(static_cast<std::size_t>(p.lanes()));
  std::memcpy(passengers.data(), bits.data(), riding / 8);

  StateEncoder encoder(passengers);
  if (p.sign_mode != SignMode::kRaw) {
    encoder.push(s.nonzeros - raw_signs, [&](std::size_t i) -> const Range& {
      return t.signs[s.shares[raw_signs + i]][s.signs[raw_signs + i]];
    });
  }
  if (p.tokens > 1) {
    encoder.push(s.nonzeros, [&](std::size_t i) -> const Range& { return t.tokens[s.classes[i]][s.tokens[i]]; });
  }
  encoder.push(s.nonempty, [&](std::size_t i) -> const Range& { return t.masks[s.filled[i]]; });
  encoder.push(s.counts.size(), [&](std::size_t i) -> const Range& { return t.counts[s.buckets[i]][s.counts[i]]; });
  std::vector<uint8_t> chunk;
  encoder.finish(chunk);
  chunk.insert(chunk.end(), bits.begin() + static_cast<std::ptrdiff_t>(riding / 8), bits.end());
  return chunk;
}

void append_varint(std::vector<uint8_t>& bytes, std::size_t value) {
  for (; value >= 128; value >>= 7) bytes.push_back(static_cast<uint8_t>(value | 128));
  bytes.push_back(static_cast<uint8_t>(value));
}

void check_layout(std::size_t count, CodeLayout layout) {
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
  check_layout(count, layout);
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

double estimate_grouped(const void* codes, CodeType type, std::size_t count, CodeLayout layout,
                        const Parallel& parallel) {
  grouped::check_layout(count, layout);
  return static_cast<double>(grouped::estimated_cost({codes, type, count}, layout, parallel)) / (65536.0 * 8.0);
}

}  // namespace opq
