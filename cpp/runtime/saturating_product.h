// Products of sizes that come from a file.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>

namespace opq {

// INT64_MAX if the product is larger. Factors >= 0.
inline int64_t saturating_product(std::initializer_list<int64_t> factors) {
  int64_t product = 1;
  bool overflow = false;
  for (const int64_t factor : factors) {
    if (factor == 0) return 0;
    overflow |= __builtin_mul_overflow(product, factor, &product);
  }
  return overflow ? std::numeric_limits<int64_t>::max() : product;
}

}  // namespace opq
