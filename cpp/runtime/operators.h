// The operators of the file format: names, numbers of inputs, attributes. See the table in docs/format.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace opq {

enum class Op : uint8_t {
  kConv,
  kLinear,
  kMatMul,
  kRelu,
  kSigmoid,
  kTanh,
  kHardSwish,
  kLeakyRelu,
  kHardSigmoid,
  kClip,
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMaxPool,
  kAveragePool,
  kReduceMean,
  kSoftmax,
  kLRN,
  kPad,
  kConcat,
  kFlatten,
  kReshape,
  kSqueeze,
  kUnsqueeze,
  kTranspose,
};

// In the order of the kinds 1 to 4 of the file.
using Attribute = std::variant<int64_t, float, std::string, std::vector<int64_t>>;

struct AttributeRule {
  const char* key;
  uint8_t kind;  // 1 to 4
};

struct OperatorRule {
  Op op;
  const char* name;
  int required_inputs;  // inputs behind these may be absent
  int max_inputs;
  std::span<const AttributeRule> attributes;  // all of them must be there, and no others
};

// Null for an unknown name.
const OperatorRule* find_operator(std::string_view name);

const char* operator_name(Op op);

// Operators that do not touch the elements: their output is another view of the input.
bool is_view(Op op);

}  // namespace opq
