// Loads a file in every precision and runs its network for small inputs: once as sessions do, once with other kernels
// and threads, and in float32 without fusion. The results must have the same bits.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "format/container.h"
#include "fuzz/file_mutator.h"
#include "runtime/session.h"
#include "runtime/shapes.h"

namespace opq {
namespace {

// More is left to slower tests: a run of the target should take milliseconds.
constexpr int64_t kMaxCodes = 1 << 18;
constexpr double kMaxWork = 2e5, kMaxBytes = 0x1p26;

int64_t count_codes(Bytes file) {
  const Container container = parse_container(file);
  int64_t codes = 0;
  for (const Tensor& tensor : parse_tensors(container.tensors, container.data)) {
    if (tensor.codec != Codec::kRaw) codes += tensor.elements;
  }
  return codes;
}

double elements(const Shape& shape) { return static_cast<double>(element_count(shape)); }

// About how many additions, comparisons or copies a node takes.
double work_of(const Node& node, const std::vector<Shape>& shapes) {
  const double outputs = elements(shapes[node.output]);
  const Shape& x = shapes[node.inputs[0]];
  double work = outputs;
  for (const int value : node.inputs) work += elements(shapes[value]);
  switch (node.op) {
    case Op::kConv:
    case Op::kLinear: {
      const Shape& weight = shapes[node.inputs[1]];
      return work + outputs * elements(weight) / static_cast<double>(weight[0]);
    }
    case Op::kMatMul:
      return work + outputs * static_cast<double>(x.back());
    case Op::kMaxPool:
    case Op::kAveragePool: {
      for (const int64_t size : node.integers("kernel_shape")) work *= static_cast<double>(size);
      return work;
    }
    case Op::kLRN:
      return work * static_cast<double>(std::min(node.integer("size"), x[1]));
    default:
      return work;
  }
}

constexpr int kThreads = 2;  // of the second run

bool is_small(const Network& network, const Plan& plan) {
  double work = 0;
  for (const Shape& shape : plan.inputs()) work += elements(shape);
  for (const Node& node : network.graph().nodes) work += work_of(node, plan.shapes());
  const double bytes =
      static_cast<double>(plan.arena_bytes()) + 4.0 * static_cast<double>(plan.scratch_floats(kThreads));
  return work <= kMaxWork && bytes <= kMaxBytes;
}

struct Inputs {
  std::vector<std::vector<std::byte>> memory;
  std::vector<InputArray> arrays;
};

// Many zeros, as behind a ReLU; never NaN.
template <typename T>
std::vector<std::byte> make_elements(int64_t count) {
  std::vector<std::byte> bytes(count * sizeof(T));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t number = (i + 1) * 2654435761 % 1021;
    const T element = static_cast<T>(number % 3 == 0 ? 0 : number - 510) / T{64};
    std::memcpy(bytes.data() + i * sizeof(T), &element, sizeof(T));
  }
  return bytes;
}

Inputs make_inputs(const Network& network, const std::vector<Shape>& shapes) {
  Inputs inputs;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const Port& port = network.graph().inputs[i];
    const int64_t count = element_count(shapes[i]);
    inputs.memory.push_back(port.type == ElementType::kFloat32 ? make_elements<float>(count)
                            : port.type == ElementType::kInt32 ? make_elements<int32_t>(count)
                                                               : make_elements<int64_t>(count));
    const std::string_view name = network.graph().values[port.value].name;
    inputs.arrays.push_back({name, port.type, shapes[i], inputs.memory.back().data()});
  }
  return inputs;
}

bool same_bits(const OutputArray& a, const OutputArray& b) {
  const auto bytes = static_cast<std::size_t>(element_count(a.shape)) * element_size(a.type);
  if (a.type != b.type || a.shape != b.shape) return false;
  if (bytes == 0 || std::memcmp(a.data.get(), b.data.get(), bytes) == 0) return true;
  if (a.type != ElementType::kFloat32) return false;
  const auto *u = reinterpret_cast<const float*>(a.data.get()), *v = reinterpret_cast<const float*>(b.data.get());
  return std::equal(u, u + bytes / sizeof(float), v, [](float p, float q) {
    return (std::isnan(p) && std::isnan(q)) || std::memcmp(&p, &q, sizeof p) == 0;
  });
}

// Free dimensions of the inputs get the size `size`. portable: the same network, loaded for the scalar kernels.
void run(const std::shared_ptr<const Network>& network, const std::shared_ptr<const Network>& portable, int64_t size) {
  const bool keep_all = network->precision() == Precision::kFloat32;
  std::vector<Shape> shapes;
  for (const Port& port : network->graph().inputs) {
    shapes.push_back(port.shape);
    std::replace(shapes.back().begin(), shapes.back().end(), int64_t{-1}, size);
  }
  try {
    if (!is_small(*network, Plan(*network, shapes, keep_all))) return;
  } catch (const Error&) {  // such inputs do not fit
    return;
  }
  // From here on every exception is a defect.
  const Inputs inputs = make_inputs(*network, shapes);
  std::vector<std::string> outputs;
  for (const Port& port : network->graph().outputs) outputs.push_back(network->graph().values[port.value].name);
  const std::vector<OutputArray> first = Session(network, 1, false).run(inputs.arrays, outputs);
  const std::vector<OutputArray> second = Session(portable, kThreads, keep_all).run(inputs.arrays, outputs);
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (!same_bits(first[i], second[i])) std::abort();
  }
}

}  // namespace
}  // namespace opq

extern "C" std::size_t LLVMFuzzerCustomMutator(uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
  return opq::mutate_file(data, size, max_size, seed);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace opq;
  for (const Precision precision : {Precision::kFloat32, Precision::kInt16, Precision::kInt8}) {
    std::shared_ptr<const Network> network;
    try {
      if (count_codes({data, size}) > kMaxCodes) return 0;
      network = std::make_shared<const Network>(Bytes{data, size}, Parallel{}, precision);
    } catch (const Error&) {
      return 0;
    }
    if (!network->has_graph()) return 0;
    setenv("OPQ_ISA", "scalar", 1);  // which a network is loaded for, and then runs on
    const auto portable = std::make_shared<const Network>(Bytes{data, size}, Parallel{}, precision);
    unsetenv("OPQ_ISA");
    for (const int64_t free_size : {1, 2, 9}) run(network, portable, free_size);
  }
  return 0;
}
