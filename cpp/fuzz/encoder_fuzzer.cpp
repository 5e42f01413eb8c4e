// Codes: encoded, they decode to the same. Each byte of the rest is a code, folded into -levels..levels; or the rest
// are integers.
#include "fuzz/codec_input.h"

namespace opq {
namespace {

void write_codes(const CodecInput& input) {
  std::vector<int8_t> codes;
  for (const uint8_t byte : input.rest) {
    codes.push_back(static_cast<int8_t>(byte % (2 * input.levels + 1) - input.levels));
  }
  if (!codes.empty()) check_codes(input, codes);
}

template <typename T>
void write_integers(const CodecInput& input) {
  std::vector<T> integers(input.rest.size() / sizeof(T));
  if (integers.empty()) return;
  std::memcpy(integers.data(), input.rest.data(), integers.size() * sizeof(T));
  check_integers(input, integers);
}

}  // namespace
}  // namespace opq

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace opq;
  return run_codec_input({data, size}, write_codes, [](const CodecInput& input, auto tag) {
    write_integers<typename decltype(tag)::type>(input);
  });
}
