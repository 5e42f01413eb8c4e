#include "runtime/step.h"

namespace opq {

std::vector<int> operands(const Graph& graph, const FusedNode& fused) {
  const Node& node = graph.nodes[fused.node];
  std::vector<int> values;
  const bool has_weights = node.op == Op::kConv || node.op == Op::kLinear;
  for (std::size_t i = 0; i < (has_weights ? 1 : node.inputs.size()); ++i) values.push_back(node.inputs[i]);
  if (fused.residual != kAbsent) values.push_back(fused.residual);
  return values;
}

std::unique_ptr<Step> make_plain_step(const StepSource& source) {
  switch (source.node().op) {
    case Op::kConv:
    case Op::kLinear:
      return make_conv_step(source);
    case Op::kMatMul:
      return make_matmul_step(source);
    case Op::kRelu:
    case Op::kSigmoid:
    case Op::kTanh:
    case Op::kHardSwish:
    case Op::kLeakyRelu:
    case Op::kHardSigmoid:
    case Op::kClip:
    case Op::kAdd:
    case Op::kSub:
    case Op::kMul:
    case Op::kDiv:
      return make_function_step(source);
    case Op::kMaxPool:
      return make_max_pool_step(source);
    case Op::kAveragePool:
      return make_average_pool_step(source);
    case Op::kReduceMean:
      return make_reduce_step(source);
    case Op::kSoftmax:
      return make_softmax_step(source);
    case Op::kLRN:
      return make_lrn_step(source);
    case Op::kPad:
      return make_pad_step(source);
    case Op::kConcat:
      return make_concat_step(source);
    case Op::kTranspose:
      return make_transpose_step(source);
    case Op::kFlatten:
    case Op::kReshape:
    case Op::kSqueeze:
    case Op::kUnsqueeze:
      break;  // views: no step
  }
  source.node().fail(ErrorCode::kUnsupported, "it has no step");
}

std::unique_ptr<Step> make_step(const StepSource& source) {
  const Op op = source.node().op;
  const bool is_layer = op == Op::kConv || op == Op::kLinear;
  if (is_layer && source.network.weights(source.fused.node).integer) return make_integer_layer_step(source);
  if (op == Op::kConcat && source.output_grid()) return make_integer_concat_step(source);
  if (source.input_grid()) {
    if (is_integer_average(source)) return make_integer_average_step(source);
    const bool keeps_grid = source.fused.nodes.size() == 1 && source.output_grid() == source.input_grid();
    if (op == Op::kTranspose) return make_transpose_step(source);
    if (op == Op::kMaxPool && keeps_grid) return make_integer_max_step(source);
    if ((op == Op::kRelu || op == Op::kClip) && keeps_grid) return make_clamp_step(source);
  }
  return make_float_step(source);
}

}  // namespace opq
