// Code streams: what can be decoded is encoded again, and decodes to the same.
#include "fuzz/codec_input.h"

namespace opq {
namespace {

void read_codes(const CodecInput& input) {
  std::vector<int8_t> codes;
  try {
    check_stream_length(input.codec, input.count, input.levels, input.rest.size());
    codes.resize(input.count);
    decode_codes(input.codec, input.rest, input.levels, codes.data(), codes.size());
  } catch (const Error&) {
    return;
  }
  const auto [least, most] = std::minmax_element(codes.begin(), codes.end());
  if (*least < -input.levels || *most > input.levels) std::abort();
  check_codes(input, codes);
}

template <typename T>
void read_integers(const CodecInput& input) {
  std::vector<T> integers(input.count);
  try {
    decode_grouped(input.rest, std::numeric_limits<T>::min(), std::numeric_limits<T>::max(), integers.data(),
                   input.type, integers.size(), {});
  } catch (const Error&) {
    return;
  }
  check_integers(input, integers);
}

}  // namespace
}  // namespace opq

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace opq;
  return run_codec_input({data, size}, read_codes,
                         [](const CodecInput& input, auto tag) { read_integers<typename decltype(tag)::type>(input); });
}
