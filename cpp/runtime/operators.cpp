#include "runtime/operators.h"

#include <algorithm>
#include <iterator>

namespace opq {
namespace {

constexpr uint8_t kInteger = 1, kNumber = 2, kText = 3, kIntegers = 4;

constexpr AttributeRule kConv[] = {
    {"strides", kIntegers}, {"dilations", kIntegers}, {"pads", kIntegers}, {"auto_pad", kText}, {"group", kInteger}};
constexpr AttributeRule kLeakyRelu[] = {{"alpha", kNumber}};
constexpr AttributeRule kHardSigmoid[] = {{"alpha", kNumber}, {"beta", kNumber}};
constexpr AttributeRule kClip[] = {{"min", kNumber}, {"max", kNumber}};
constexpr AttributeRule kMaxPool[] = {{"kernel_shape", kIntegers}, {"strides", kIntegers}, {"dilations", kIntegers},
                                      {"pads", kIntegers},         {"auto_pad", kText},    {"ceil_mode", kInteger}};
constexpr AttributeRule kAveragePool[] = {
    {"kernel_shape", kIntegers}, {"strides", kIntegers},  {"dilations", kIntegers},       {"pads", kIntegers},
    {"auto_pad", kText},         {"ceil_mode", kInteger}, {"count_include_pad", kInteger}};
constexpr AttributeRule kReduceMean[] = {{"axes", kIntegers}, {"keepdims", kInteger}};
constexpr AttributeRule kAxis[] = {{"axis", kInteger}};
constexpr AttributeRule kAxes[] = {{"axes", kIntegers}};
constexpr AttributeRule kLRN[] = {{"size", kInteger}, {"alpha", kNumber}, {"beta", kNumber}, {"bias", kNumber}};
constexpr AttributeRule kPad[] = {{"pads", kIntegers}, {"mode", kText}, {"value", kNumber}};
constexpr AttributeRule kReshape[] = {{"shape", kIntegers}, {"allowzero", kInteger}};
constexpr AttributeRule kTranspose[] = {{"perm", kIntegers}};

// In the order of Op.
constexpr OperatorRule kRules[] = {
    {Op::kConv, "Conv", 2, 4, kConv},
    {Op::kLinear, "Linear", 2, 4, {}},
    {Op::kMatMul, "MatMul", 2, 2, {}},
    {Op::kRelu, "Relu", 1, 1, {}},
    {Op::kSigmoid, "Sigmoid", 1, 1, {}},
    {Op::kTanh, "Tanh", 1, 1, {}},
    {Op::kHardSwish, "HardSwish", 1, 1, {}},
    {Op::kLeakyRelu, "LeakyRelu", 1, 1, kLeakyRelu},
    {Op::kHardSigmoid, "HardSigmoid", 1, 1, kHardSigmoid},
    {Op::kClip, "Clip", 1, 1, kClip},
    {Op::kAdd, "Add", 2, 2, {}},
    {Op::kSub, "Sub", 2, 2, {}},
    {Op::kMul, "Mul", 2, 2, {}},
    {Op::kDiv, "Div", 2, 2, {}},
    {Op::kMaxPool, "MaxPool", 1, 1, kMaxPool},
    {Op::kAveragePool, "AveragePool", 1, 1, kAveragePool},
    {Op::kReduceMean, "ReduceMean", 1, 1, kReduceMean},
    {Op::kSoftmax, "Softmax", 1, 1, kAxis},
    {Op::kLRN, "LRN", 1, 1, kLRN},
    {Op::kPad, "Pad", 1, 1, kPad},
    {Op::kConcat, "Concat", 1, 255, kAxis},
    {Op::kFlatten, "Flatten", 1, 1, kAxis},
    {Op::kReshape, "Reshape", 1, 1, kReshape},
    {Op::kSqueeze, "Squeeze", 1, 1, kAxes},
    {Op::kUnsqueeze, "Unsqueeze", 1, 1, kAxes},
    {Op::kTranspose, "Transpose", 1, 1, kTranspose},
};

}  // namespace

const OperatorRule* find_operator(std::string_view name) {
  const auto* rule = std::find_if(std::begin(kRules), std::end(kRules), [&](const auto& r) { return name == r.name; });
  return rule == std::end(kRules) ? nullptr : rule;
}

const char* operator_name(Op op) { return kRules[static_cast<int>(op)].name; }

bool is_view(Op op) { return op == Op::kFlatten || op == Op::kReshape || op == Op::kSqueeze || op == Op::kUnsqueeze; }

}  // namespace opq
