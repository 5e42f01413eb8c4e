#include "runtime/ranges.h"

#include <cmath>

#include "format/half_precision.h"

namespace opq {

std::vector<Range> parse_ranges(Bytes section, const Graph& graph) {
  ByteReader reader(section, "ACTV");
  const uint32_t count = reader.u32("the number of ranges");
  const std::size_t places = graph.inputs.size() + graph.nodes.size();
  if (count > places || count > reader.remaining() / 8) reader.fail("more ranges than it can hold");
  std::vector<Range> ranges;
  ranges.reserve(count);
  int64_t last = -1;
  for (uint32_t i = 0; i < count; ++i) {
    const int64_t place = reader.u32("a place");
    if (place <= last || place >= static_cast<int64_t>(places)) {
      reader.fail("a range for value " + std::to_string(place) + " of " + std::to_string(places) + ", or not in order");
    }
    last = place;
    float ends[2];
    decode_floats(FloatCodec::kBfloat16, reader.bytes(4, "a range"), ends);
    const auto [lo, hi] = ends;
    if (!(std::isfinite(lo) && std::isfinite(hi) && lo <= 0 && hi >= 0 && lo < hi)) {
      reader.fail("the range of value " + std::to_string(place) + " has no 0, no width or no end");
    }
    const std::size_t node = static_cast<std::size_t>(place) - graph.inputs.size();
    const int value =
        place < static_cast<int64_t>(graph.inputs.size()) ? graph.inputs[place].value : graph.nodes[node].output;
    ranges.push_back({value, lo, hi});
  }
  if (reader.remaining() > 0) reader.fail("bytes behind the last range");
  return ranges;
}

}  // namespace opq
