#include "runtime/step.h"

namespace opq {

std::unique_ptr<Step> make_step(const StepSource& source) {
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
      return make_unary_step(source);
    case Op::kAdd:
    case Op::kSub:
    case Op::kMul:
    case Op::kDiv:
      return make_binary_step(source);
    case Op::kMaxPool:
    case Op::kAveragePool:
      return make_pool_step(source);
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

}  // namespace opq
