// The codes of a tensor, some at a time.
#pragma once

#include <cstddef>
#include <memory>

#include "format/tensors.h"

namespace opq {

// Keeps what was read last, and decodes a few chunks ahead by all threads. Of codecs whose streams have no chunks, all
// codes are decoded at once.
class CodeReader {
 public:
  // Tensor and parallel stay where they are. Throws Error(kFormat) naming the tensor.
  CodeReader(const Tensor& tensor, const Parallel& parallel);
  ~CodeReader();
  CodeReader(const CodeReader&) = delete;
  CodeReader& operator=(const CodeReader&) = delete;

  // codes[count] from the code `first` on, in C order, until the next call. Throws Error(kFormat) naming the tensor,
  // for damage in the chunks that are decoded.
  const int8_t* read(int64_t first, int64_t count);

 private:
  void decode_to(std::size_t last_chunk);

  const Tensor& tensor_;
  const Parallel& parallel_;
  std::unique_ptr<GroupedReader> chunks_;  // or null
  std::unique_ptr<int8_t[]> codes_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0, end_ = 0;  // which codes they are
  std::size_t next_chunk_ = 0;
};

}  // namespace opq
