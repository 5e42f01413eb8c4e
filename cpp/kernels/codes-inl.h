// The codes -128..127 as floats, at index code + 128: one load turns a stored byte into a broadcast weight.
#pragma once

namespace opq {
namespace {

struct CodeValues {
  float value[256];
};

constexpr CodeValues make_code_values() {
  CodeValues table = {};
  for (int i = 0; i < 256; ++i) table.value[i] = static_cast<float>(i - 128);
  return table;
}

alignas(64) constexpr CodeValues kCodeValues = make_code_values();

}  // namespace
}  // namespace opq
