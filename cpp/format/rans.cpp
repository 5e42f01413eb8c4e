// Range asymmetric numeral systems: J. Duda, "Asymmetric numeral systems", arXiv:1311.2540; interleaved states with a
// shared word stream: F. Giesen, "Interleaved entropy coders", arXiv:1402.3392.
//
//   encode s:  state = (state / freq) << 12 | state % freq + cum     after moving 16 bits out while state >= freq << 20
//   decode:    slot = state & 4095;  s from slot;  state = freq * (state >> 12) + slot - cum     then 16 bits in if
//   state < 2^16
//
// A state lies in [2^16, 2^32) between symbols. The encoder runs from the last symbol to the first, so that the decoder
// runs forward.
#include "format/rans.h"

#include <algorithm>
#include <array>

namespace opq {
namespace {

constexpr int kScaleBits = 12;
constexpr uint32_t kScale = 1 << kScaleBits;
constexpr std::size_t kChunkSymbols = std::size_t{1} << 18;
constexpr uint32_t kLowest = 1 << 16;  // the lowest valid state, where every lane starts and ends
constexpr int kMaxLanes = 32;

using Frequencies = std::vector<uint32_t>;  // [2K + 1], their sum is kScale

[[noreturn]] void fail(const char* message) { throw Error(ErrorCode::kFormat, message); }

// --- decoding
// ---------------------------------------------------------------------------------------------------------

// One entry per slot: code (8 bits) | frequency (12 bits) | slot - cum (12 bits).
using SlotTable = std::array<uint32_t, kScale>;

// A frequency of 4096 does not fit 12 bits; such a stream has one symbol and no words, and is not decoded by the table.
SlotTable make_slot_table(const Frequencies& frequencies, int levels) {
  SlotTable table;
  uint32_t slot = 0;
  for (std::size_t s = 0; s < frequencies.size(); ++s) {
    const uint32_t code = static_cast<uint8_t>(static_cast<int>(s) - levels);
    for (uint32_t i = 0; i < frequencies[s]; ++i) table[slot++] = code | frequencies[s] << 8 | i << 20;
  }
  return table;
}

uint32_t advance(uint32_t state, uint32_t entry) {
  return ((entry >> 8) & (kScale - 1)) * (state >> kScaleBits) + (entry >> 20);
}

// Decodes codes[count] with `states`; returns the words that are left.
template <int kLanes>
Bytes decode_symbols(const SlotTable& table, uint32_t* states, Bytes words, int8_t* codes, std::size_t count) {
  const uint8_t* next = words.data();
  const uint8_t* const end = next + words.size();
  std::size_t i = 0;
  // While every lane could take a word, no read needs a check.
  for (; count - i >= kLanes && end - next >= 2 * kLanes; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const uint32_t entry = table[states[lane] & (kScale - 1)];
      codes[i + lane] = static_cast<int8_t>(entry);
      const uint32_t state = advance(states[lane], entry);
      const bool low = state < kLowest;
      states[lane] = low ? state << 16 | load<uint16_t>(next) : state;
      next += low ? 2 : 0;
    }
  }
  for (; i < count; ++i) {
    uint32_t& state = states[i % kLanes];
    const uint32_t entry = table[state & (kScale - 1)];
    codes[i] = static_cast<int8_t>(entry);
    state = advance(state, entry);
    if (state < kLowest) {
      if (next == end) fail("the words of a chunk are cut off");
      state = state << 16 | load<uint16_t>(next);
      next += 2;
    }
  }
  return {next, end};
}

// table is null for a stream with one symbol, whose states never change.
void decode_chunk(const SlotTable* table, int lanes, Bytes chunk, int8_t only_code, int8_t* codes, std::size_t count) {
  const std::size_t state_bytes = sizeof(uint32_t) * lanes;
  if (chunk.size() < state_bytes || (chunk.size() - state_bytes) % 2 != 0) fail("a chunk has a wrong length");
  uint32_t states[kMaxLanes];
  std::memcpy(states, chunk.data(), state_bytes);
  if (std::any_of(states, states + lanes, [](uint32_t state) { return state < kLowest; })) {
    fail("a state is less than 2^16");
  }
  Bytes words = chunk.subspan(state_bytes);
  if (table == nullptr) {
    std::fill_n(codes, count, only_code);
  } else {
    switch (lanes) {
      case 1:
        words = decode_symbols<1>(*table, states, words, codes, count);
        break;
      case 2:
        words = decode_symbols<2>(*table, states, words, codes, count);
        break;
      case 4:
        words = decode_symbols<4>(*table, states, words, codes, count);
        break;
      case 8:
        words = decode_symbols<8>(*table, states, words, codes, count);
        break;
      case 16:
        words = decode_symbols<16>(*table, states, words, codes, count);
        break;
      default:
        words = decode_symbols<32>(*table, states, words, codes, count);
        break;
    }
  }
  if (!words.empty()) fail("a chunk has words left over");
  if (std::any_of(states, states + lanes, [](uint32_t state) { return state != kLowest; })) {
    fail("a final state is not 2^16");
  }
}

Frequencies read_frequencies(ByteReader& reader, int levels) {
  Frequencies frequencies(2 * levels + 1);
  uint32_t sum = 0;
  for (uint32_t& frequency : frequencies) {
    const uint32_t low = reader.u8("frequency");
    const uint32_t high = low < 0x80 ? 0 : reader.u8("frequency");
    if (low >= 0x80 && (high == 0 || high >= 0x80)) reader.fail("a frequency is not a varint of at most 2 bytes");
    frequency = (low & 0x7F) | high << 7;
    sum += frequency;  // at most 255 * 2^14
  }
  if (sum != kScale) reader.fail("the sum of the frequencies is " + std::to_string(sum) + ", not 4096");
  return frequencies;
}

// --- encoding
// ---------------------------------------------------------------------------------------------------------

// Scales the counts to the sum 4096, at least 1 for every symbol that occurs.
Frequencies scale_counts(const std::vector<uint64_t>& counts, uint64_t total) {
  Frequencies frequencies(counts.size());
  uint32_t sum = 0;
  for (std::size_t s = 0; s < counts.size(); ++s) {
    if (counts[s] > 0) frequencies[s] = std::max(1u, static_cast<uint32_t>((counts[s] * kScale + total / 2) / total));
    sum += frequencies[s];
  }
  // What rounding left over goes to the largest ones, where it costs least. max_element returns the first of equals.
  for (; sum > kScale; --sum) --*std::max_element(frequencies.begin(), frequencies.end());
  for (; sum < kScale; ++sum) ++*std::max_element(frequencies.begin(), frequencies.end());
  return frequencies;
}

struct Symbol {
  uint32_t frequency, cum;
};

// Appends the chunk to `stream` and returns its length in bytes. `reversed` is working memory.
std::size_t encode_chunk(const std::vector<Symbol>& symbols, int levels, int lanes, const int8_t* codes,
                         std::size_t count, std::vector<uint16_t>& reversed, std::vector<uint8_t>& stream) {
  uint32_t states[kMaxLanes];
  std::fill_n(states, lanes, kLowest);
  reversed.resize(count);  // a symbol moves out one word at most
  std::size_t words = 0;
  for (std::size_t i = count; i-- > 0;) {
    const Symbol& symbol = symbols[codes[i] + levels];
    uint32_t& state = states[i % lanes];
    if (state >= uint64_t{symbol.frequency} << 20) {
      reversed[words++] = static_cast<uint16_t>(state);
      state >>= 16;
    }
    state = ((state / symbol.frequency) << kScaleBits) + state % symbol.frequency + symbol.cum;
  }
  std::reverse(reversed.begin(), reversed.begin() + words);
  const auto append = [&stream](const void* bytes, std::size_t size) {
    const auto* begin = static_cast<const uint8_t*>(bytes);
    stream.insert(stream.end(), begin, begin + size);
  };
  append(states, sizeof(uint32_t) * lanes);
  append(reversed.data(), sizeof(uint16_t) * words);
  return sizeof(uint32_t) * lanes + sizeof(uint16_t) * words;
}

std::size_t chunk_count(std::size_t count) { return (count + kChunkSymbols - 1) / kChunkSymbols; }

}  // namespace

std::vector<uint8_t> encode_rans(const int8_t* codes, std::size_t count, int levels) {
  if (count == 0) throw Error(ErrorCode::kInput, "rans0 needs at least one code");
  std::vector<uint64_t> counts(2 * levels + 1);
  for (std::size_t i = 0; i < count; ++i) {
    if (codes[i] < -levels || codes[i] > levels) {
      throw Error(ErrorCode::kInput, "code " + std::to_string(codes[i]) + " is not in -" + std::to_string(levels) +
                                         ".." + std::to_string(levels));
    }
    ++counts[codes[i] + levels];
  }
  const Frequencies frequencies = scale_counts(counts, count);
  const int lanes = count >= 65536 ? 32 : count >= 4096 ? 8 : 2;

  std::vector<uint8_t> stream;
  std::vector<Symbol> symbols;
  uint32_t cum = 0;
  for (const uint32_t frequency : frequencies) {
    if (frequency < 0x80) {
      stream.push_back(static_cast<uint8_t>(frequency));
    } else {
      stream.push_back(static_cast<uint8_t>(frequency | 0x80));
      stream.push_back(static_cast<uint8_t>(frequency >> 7));
    }
    symbols.push_back({frequency, cum});
    cum += frequency;
  }
  stream.push_back(static_cast<uint8_t>(lanes));

  const std::size_t lengths = stream.size();
  stream.resize(lengths + sizeof(uint32_t) * chunk_count(count));
  std::vector<uint16_t> reversed;
  for (std::size_t chunk = 0; chunk < chunk_count(count); ++chunk) {
    const std::size_t begin = chunk * kChunkSymbols, size = std::min(kChunkSymbols, count - begin);
    const uint32_t bytes =
        static_cast<uint32_t>(encode_chunk(symbols, levels, lanes, codes + begin, size, reversed, stream));
    std::memcpy(stream.data() + lengths + sizeof bytes * chunk, &bytes, sizeof bytes);
  }
  return stream;
}

void decode_rans(Bytes stream, int levels, int8_t* codes, std::size_t count) {
  ByteReader reader(stream, "rans0 stream");
  const Frequencies frequencies = read_frequencies(reader, levels);
  const uint8_t lanes = reader.u8("number of lanes");
  if (!std::has_single_bit(lanes) || lanes > kMaxLanes) reader.fail("the number of lanes is " + std::to_string(lanes));
  const Bytes lengths = reader.bytes(sizeof(uint32_t) * chunk_count(count), "chunk lengths");

  const auto only = std::find(frequencies.begin(), frequencies.end(), kScale);
  const bool one_symbol = only != frequencies.end();
  const int8_t only_code = static_cast<int8_t>((only - frequencies.begin()) - levels);
  SlotTable table;
  if (!one_symbol) table = make_slot_table(frequencies, levels);
  for (std::size_t chunk = 0; chunk < chunk_count(count); ++chunk) {
    const std::size_t begin = chunk * kChunkSymbols;
    const Bytes bytes = reader.bytes(load<uint32_t>(lengths.data() + sizeof(uint32_t) * chunk), "chunk");
    decode_chunk(one_symbol ? nullptr : &table, lanes, bytes, only_code, codes + begin,
                 std::min(kChunkSymbols, count - begin));
  }
  if (reader.remaining() > 0) reader.fail("bytes after the last chunk");
}

}  // namespace opq
