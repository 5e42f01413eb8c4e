// A bounded reader of little-endian bytes. Every read says what it reads, so that the error of a short file can name
// it.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "format/error.h"

namespace opq {

static_assert(std::endian::native == std::endian::little, "integers and floats are copied from the file as they are");

using Bytes = std::span<const uint8_t>;

inline constexpr std::size_t kMaxStringBytes = 1024;

template <typename T>
T load(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// True if `text` is well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view text);

class ByteReader {
 public:
  // `part` names the bytes in errors, e.g. "GRPH"; offsets in errors count from its start.
  ByteReader(Bytes bytes, std::string part) : bytes_(bytes), part_(std::move(part)) {}

  std::size_t offset() const { return offset_; }
  std::size_t remaining() const { return bytes_.size() - offset_; }

  Bytes bytes(uint64_t count, const char* what) {
    if (count > remaining()) fail(std::string(what) + " is cut off");
    const Bytes result = bytes_.subspan(offset_, count);
    offset_ += count;
    return result;
  }

  template <typename T>
  T number(const char* what) {
    return load<T>(bytes(sizeof(T), what).data());
  }
  uint8_t u8(const char* what) { return number<uint8_t>(what); }
  uint16_t u16(const char* what) { return number<uint16_t>(what); }
  uint32_t u32(const char* what) { return number<uint32_t>(what); }
  uint64_t u64(const char* what) { return number<uint64_t>(what); }
  int64_t i64(const char* what) { return number<int64_t>(what); }
  float f32(const char* what) { return number<float>(what); }

  // `str`: a u16 length, then UTF-8.
  std::string string(const char* what) {
    const uint16_t length = u16(what);
    if (length > kMaxStringBytes) fail(std::string(what) + " is longer than 1024 bytes");
    const Bytes text = bytes(length, what);
    std::string result(reinterpret_cast<const char*>(text.data()), text.size());
    if (!is_utf8(result)) fail(std::string(what) + " is not UTF-8");
    return result;
  }

  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorCode::kFormat, part_ + ": " + message + " (at byte " + std::to_string(offset_) + ")");
  }

 private:
  Bytes bytes_;
  std::size_t offset_ = 0;
  std::string part_;
};

}  // namespace opq
