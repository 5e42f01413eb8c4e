// A loaded network: its graph and its weights, decoded and packed for the kernels. Immutable; any number of sessions
// share it.
#pragma once

#include <memory>
#include <vector>

#include "runtime/aligned_buffer.h"
#include "runtime/graph.h"
#include "runtime/integer_layer.h"
#include "runtime/kernel_choice.h"
#include "runtime/layers.h"
#include "runtime/ranges.h"

namespace opq {

// How a kernel was chosen.
struct KernelChoice {
  LayerFacts facts;
  std::vector<KernelOption> options;
  KernelKind kind = KernelKind::kDense;
  bool is_wanted = false;  // by the caller
};

// The weights of one Conv or Linear node. Exactly one of conv, linear and integer is set.
struct NodeWeights {
  KernelChoice choice;
  std::shared_ptr<const ConvLayer> conv;
  std::shared_ptr<const LinearLayer> linear;
  std::shared_ptr<const IntegerLayer> integer;
  bool is_linear = false;          // a Linear, or a Conv that is one of its flattened input
  std::vector<float> scale, bias;  // [M], or empty: 1 and 0
};

class Network {
 public:
  // Reads and checks one whole file, all code streams included, each decoded in parallel. The bytes are not needed
  // afterwards. `precision`: what its sessions hold activations in. Throws Error(kInput) for a wish that cannot be met.
  explicit Network(Bytes file, const Parallel& parallel = {}, Precision precision = Precision::kFloat32,
                   const KernelWishes& wishes = {});

  Precision precision() const { return precision_; }
  const Kernels& kernels() const { return kernels_; }  // that its weights are packed for

  bool has_graph() const { return has_graph_; }
  const Graph& graph() const { return graph_; }
  const std::vector<Tensor>& tensors() const { return tensors_; }  // without their payloads

  const std::vector<Range>& ranges() const { return ranges_; }  // of activations, by ascending place

  // The weights of node i, a Conv or a Linear.
  const NodeWeights& weights(std::size_t node) const { return *weights_[node]; }
  // Bytes that hold them; 0 for other nodes.
  std::size_t weights_bytes(std::size_t node) const;
  // The elements of a raw tensor that nodes read as a value or that is a graph output; null for the others.
  const std::byte* constant(int tensor) const { return constants_[tensor].data(); }

  std::size_t file_bytes() const { return file_bytes_; }
  // Bytes of memory that hold weights and constants.
  std::size_t packed_bytes() const { return packed_bytes_; }

 private:
  class Loader;

  Precision precision_;
  const Kernels& kernels_;
  bool has_graph_ = false;
  Graph graph_;
  std::vector<Range> ranges_;
  std::vector<Tensor> tensors_;
  std::vector<std::unique_ptr<NodeWeights>> weights_;  // by node
  std::vector<AlignedBuffer> constants_;               // by tensor
  std::size_t file_bytes_ = 0, packed_bytes_ = 0;
};

}  // namespace opq
