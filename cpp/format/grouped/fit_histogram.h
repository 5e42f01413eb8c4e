// What the costs of counts and magnitudes follow from: how often every token occurs, by the bucket of its group and the
// number of nonzeros there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "format/grouped/parameters.h"
#include "format/parallel.h"

namespace opq::grouped {

// Only of the buckets that occur: those of a small tensor are few, and all of them would take far longer to clear than
// its codes to count.
class Histogram {
 public:
  Histogram(std::pair<int, int> buckets, int tokens)
      : first(buckets.first), last(buckets.second), tokens_(static_cast<std::size_t>(tokens)) {
    cells_.resize(static_cast<std::size_t>(last - first + 1) * (kMaxGroup + 1) * (tokens_ + 1));
  }

  // [tokens + 1] of the groups of a bucket that have this many nonzeros: how many groups, then how often each token
  // occurs in them.
  int64_t* at(int bucket, int nonzeros) { return cells_.data() + place(bucket, nonzeros); }
  const int64_t* at(int bucket, int nonzeros) const { return cells_.data() + place(bucket, nonzeros); }
  int64_t groups(int bucket, int nonzeros) const { return at(bucket, nonzeros)[0]; }
  const int64_t* tokens(int bucket, int nonzeros) const { return at(bucket, nonzeros) + 1; }

  void add(const Histogram& other);  // of the same buckets and tokens

  const int first, last;

 private:
  std::size_t place(int bucket, int nonzeros) const {
    return (static_cast<std::size_t>(bucket - first) * (kMaxGroup + 1) + nonzeros) * (tokens_ + 1);
  }

  std::size_t tokens_;
  std::vector<int64_t> cells_;
};

// Of the groups that the parameters make of rows of symbols: 0 for a zero, else 1 + the token of its magnitude.
Histogram histogram_of(const std::vector<uint8_t>& symbols, int tokens, const Parameters& p, const Parallel& parallel);

}  // namespace opq::grouped
