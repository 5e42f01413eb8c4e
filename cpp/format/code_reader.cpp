#include "format/code_reader.h"

#include <algorithm>
#include <cstring>

namespace opq {
namespace {

constexpr std::size_t kChunksAhead = 8;  // 2 MB, enough for some threads

}  // namespace

CodeReader::CodeReader(const Tensor& tensor, const Parallel& parallel) : tensor_(tensor), parallel_(parallel) {
  const auto count = static_cast<std::size_t>(tensor.elements);
  if (tensor.codec == Codec::kGrouped) {
    named(tensor, [&] {
      chunks_ = std::make_unique<GroupedReader>(tensor.payload, -tensor.levels, tensor.levels, CodeType::kInt8, count);
    });
    return;
  }
  codes_.reset(new int8_t[count]);
  decode_codes(tensor, codes_.get(), parallel);
  end_ = count;
}

CodeReader::~CodeReader() = default;

const int8_t* CodeReader::read(int64_t first, int64_t count) {
  const auto from = static_cast<std::size_t>(first), to = from + static_cast<std::size_t>(count);
  if (from < begin_ || from > end_) {
    next_chunk_ = from / chunks_->chunk_codes();
    begin_ = end_ = next_chunk_ * chunks_->chunk_codes();
  }
  if (to > end_) {
    const std::size_t step = chunks_->chunk_codes();
    if (from > begin_ && from < end_) {  // the rest of a chunk, or of some
      std::memmove(codes_.get(), codes_.get() + (from - begin_), end_ - from);
    }
    if (from > begin_ && from <= end_) begin_ = from;
    decode_to(std::min(std::max((to + step - 1) / step, next_chunk_ + kChunksAhead), chunks_->chunks()));
  }
  return codes_.get() + (from - begin_);
}

// Appends the codes of chunks up to, without, the last one.
void CodeReader::decode_to(std::size_t last_chunk) {
  const std::size_t step = chunks_->chunk_codes(), kept = end_ - begin_;
  const std::size_t end = std::min(last_chunk * step, static_cast<std::size_t>(tensor_.elements));
  if (end - begin_ > capacity_) {
    std::unique_ptr<int8_t[]> larger(new int8_t[end - begin_]);
    if (kept > 0) std::memcpy(larger.get(), codes_.get(), kept);
    codes_ = std::move(larger);
    capacity_ = end - begin_;
  }
  named(tensor_, [&] { chunks_->decode(next_chunk_, last_chunk, codes_.get() + kept, parallel_); });
  end_ = end;
  next_chunk_ = last_chunk;
}

}  // namespace opq
