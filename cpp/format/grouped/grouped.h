// The grouped code stream of docs/format.md: groups of codes are counted, then placed, then given magnitudes and signs.
// Mirrors src/opq/reference/grouped/stream.py; both write and accept the same bytes.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "format/bytes.h"
#include "format/grouped/codes.h"
#include "format/parallel.h"

namespace opq {

// The layout in which codes are coded: rows of row_length codes (1 to 2^18), of kernels of `kernel` codes (4 to 10, and
// row_length a multiple of it) or, 0, of columns.
struct CodeLayout {
  uint32_t row_length;
  int kernel;
};

// The best layout for codes of a shape: see `layout` in the reference.
CodeLayout code_layout(const std::vector<uint64_t>& shape);

// codes[count], 1 <= count <= 2^32. Throws Error(kInput) for another count or layout.
std::vector<uint8_t> encode_grouped(const void* codes, CodeType type, std::size_t count, CodeLayout layout,
                                    const Parallel& parallel);

// About the length of that stream in bytes, for a small part of the time that encoding takes. Throws as that does.
double estimate_grouped(const void* codes, CodeType type, std::size_t count, CodeLayout layout,
                        const Parallel& parallel);

// A stream of `count` codes, count >= 1, every one in smallest..largest, that is decoded by chunks. Throws
// Error(kFormat) for whatever the format does not allow; never reads outside of `stream`, which stays where it is.
class GroupedReader {
 public:
  GroupedReader(Bytes stream, int64_t smallest, int64_t largest, CodeType type, std::size_t count);
  ~GroupedReader();
  GroupedReader(const GroupedReader&) = delete;
  GroupedReader& operator=(const GroupedReader&) = delete;

  std::size_t chunks() const;
  std::size_t chunk_codes() const;  // of every chunk but the last
  // The codes of chunks [first, last), one behind the other.
  void decode(std::size_t first, std::size_t last, void* codes, const Parallel& parallel);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// codes[count]: all of them. Throws Error(kFormat) likewise.
void decode_grouped(Bytes stream, int64_t smallest, int64_t largest, void* codes, CodeType type, std::size_t count,
                    const Parallel& parallel);

}  // namespace opq
