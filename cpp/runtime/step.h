// One step of a plan: one node, or a chain of nodes fused into one pass, with everything that depends on shapes worked
// out.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/broadcast.h"
#include "runtime/network.h"
#include "runtime/thread_pool.h"

namespace opq {

// Where the values are during one run, and what computes them.
struct Execution {
  std::byte* const* addresses;  // by value; a step writes its output only
  float* scratch;               // as many floats as the step asked for
  ThreadPool& pool;
  const Kernels& kernels;

  template <typename T>
  const T* input(int value) const {
    return reinterpret_cast<const T*>(addresses[value]);
  }
  template <typename T>
  T* output(int value) const {
    return reinterpret_cast<T*>(addresses[value]);
  }
};

class Step {
 public:
  virtual ~Step() = default;
  virtual void run(const Execution& execution) const = 0;
  // Scratch memory in floats for all threads together.
  virtual std::size_t scratch_floats(int /*threads*/) const { return 0; }
  virtual const char* kernel_name() const { return ""; }
  virtual int64_t nonzeros() const { return 0; }  // of the weights
};

// A step of float32 that makes every element of its output of one element of each input, with NumPy's broadcasting.
class ElementwiseStep : public Step {
 public:
  explicit ElementwiseStep(const Broadcast& loops) : loops_(loops) {}
  const Broadcast& loops() const { return loops_; }
  // n elements of the innermost loop, from those at `operands` on, in the order of the node's inputs.
  virtual void run_on(const float* const* operands, float* y, std::size_t n, const Kernels& kernels) const = 0;

 private:
  Broadcast loops_;
};

// What fusion made of the graph: `node` does the work; behind it `residual` is added and `activation` applied.
struct FusedNode {
  std::size_t node;                // the first of `nodes`
  std::vector<std::size_t> nodes;  // all nodes of the chain
  int output;                      // what the last one writes
  int residual = kAbsent;          // a value of the output's shape
  Activation activation;
};

// The values that a chain reads at run time.
std::vector<int> operands(const Graph& graph, const FusedNode& fused);

// What a step can be made from.
struct StepSource {
  const Network& network;
  const std::vector<Shape>& shapes;  // by value
  const FusedNode& fused;
  const std::vector<std::optional<Grid>>& held;  // by value: the grid of a value that is held as integers

  const Node& node() const { return network.graph().nodes[fused.node]; }
  const Shape& input_shape(std::size_t i) const { return shapes[node().input(i)]; }
  const Shape& output_shape() const { return shapes[fused.output]; }
  ElementType type() const { return network.graph().values[node().input(0)].type; }
  Precision precision() const { return network.precision(); }
  const std::optional<Grid>& input_grid() const { return held[node().input(0)]; }
  const std::optional<Grid>& output_grid() const { return held[fused.output]; }
};

// One function per family of operators.
std::unique_ptr<Step> make_conv_step(const StepSource& source);          // Conv, Linear
std::unique_ptr<Step> make_matmul_step(const StepSource& source);        // MatMul
std::unique_ptr<Step> make_function_step(const StepSource& source);      // Relu, Sigmoid, ..., Clip, Add, Sub, Mul, Div
std::unique_ptr<Step> make_max_pool_step(const StepSource& source);      // MaxPool
std::unique_ptr<Step> make_average_pool_step(const StepSource& source);  // AveragePool
std::unique_ptr<Step> make_reduce_step(const StepSource& source);        // ReduceMean
std::unique_ptr<Step> make_softmax_step(const StepSource& source);       // Softmax
std::unique_ptr<Step> make_lrn_step(const StepSource& source);           // LRN
std::unique_ptr<Step> make_pad_step(const StepSource& source);           // Pad
std::unique_ptr<Step> make_concat_step(const StepSource& source);        // Concat
std::unique_ptr<Step> make_transpose_step(const StepSource& source);     // Transpose

// A function step of float32, else null.
std::unique_ptr<ElementwiseStep> make_elementwise_step(const StepSource& source);

// All of them, by operator, in float32.
std::unique_ptr<Step> make_plain_step(const StepSource& source);

// Steps on values that are held as integers.
std::unique_ptr<Step> make_integer_layer_step(const StepSource& source);   // Conv, Linear whose weights are codes
std::unique_ptr<Step> make_clamp_step(const StepSource& source);           // Relu, Clip that keep the grid
std::unique_ptr<Step> make_integer_max_step(const StepSource& source);     // MaxPool that keeps the grid
std::unique_ptr<Step> make_integer_concat_step(const StepSource& source);  // Concat to a value that is held
bool is_integer_average(const StepSource& source);  // AveragePool, and ReduceMean over the pixels of an image
std::unique_ptr<Step> make_integer_average_step(const StepSource& source);
// Any other step, on the values of its operands, held or not.
std::unique_ptr<Step> make_float_step(const StepSource& source);

std::unique_ptr<Step> make_step(const StepSource& source);

}  // namespace opq
