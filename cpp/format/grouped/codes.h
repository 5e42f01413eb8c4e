// Integer arrays of any width, as the grouped coder sees them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace opq {

enum class CodeType : uint8_t { kInt8, kInt16, kInt32, kUint8, kUint16 };

inline std::size_t code_bytes(CodeType type) {
  return type == CodeType::kInt32 ? 4 : type == CodeType::kInt16 || type == CodeType::kUint16 ? 2 : 1;
}

// Calls visit(std::type_identity<T>{}) with the type that `type` stands for.
template <typename Visit>
auto with_code_type(CodeType type, const Visit& visit) {
  switch (type) {
    case CodeType::kInt8:
      return visit(std::type_identity<int8_t>{});
    case CodeType::kInt16:
      return visit(std::type_identity<int16_t>{});
    case CodeType::kInt32:
      return visit(std::type_identity<int32_t>{});
    case CodeType::kUint8:
      return visit(std::type_identity<uint8_t>{});
    default:
      return visit(std::type_identity<uint16_t>{});
  }
}

}  // namespace opq
