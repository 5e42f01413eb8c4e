// The codes to encode, read in parts as 32-bit integers.
#pragma once

#include <algorithm>
#include <cstddef>

#include "format/grouped/codes.h"

namespace opq::grouped {

struct Source {
  const void* codes;
  CodeType type;
  std::size_t count;

  // values[n]: the codes from `begin` on, zeros behind the last one.
  void load(std::size_t begin, std::size_t n, int32_t* values) const {
    const std::size_t given = std::min(n, count - begin);
    with_code_type(type, [&](auto tag) {
      using Code = typename decltype(tag)::type;
      std::copy_n(static_cast<const Code*>(codes) + begin, given, values);
    });
    std::fill_n(values + given, n - given, 0);
  }
};

}  // namespace opq::grouped
