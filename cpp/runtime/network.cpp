#include "runtime/network.h"

#include <algorithm>
#include <exception>
#include <numeric>
#include <tuple>

#include "format/container.h"
#include "runtime/session.h"
#include "runtime/shapes.h"
#include "runtime/window.h"

namespace opq {
namespace {

// True if the convolution is one product with the whole of x: one output pixel, no padding.
bool is_full_window(const Window& w) {
  return w.out == 1 && w.pad_begin == 0 && w.pad_end == 0 && w.in == w.extent() && w.in == w.kernel;
}

// By node: a Conv that is a Linear layer of its flattened input, whatever the batch. Only the inputs' first dimension
// may be unknown; two sizes of it show whether a spatial one depends on it.
std::vector<bool> find_linear_convolutions(const Graph& graph, const std::vector<Tensor>& tensors) {
  std::vector<bool> linear(graph.nodes.size());
  for (std::size_t i = 0; i < linear.size(); ++i) {
    linear[i] = graph.nodes[i].op == Op::kConv && graph.nodes[i].integer("group") == 1;
  }
  for (const int64_t batch : {1, 3}) {
    std::vector<Shape> inputs;
    for (const Port& port : graph.inputs) {
      inputs.push_back(port.shape);
      if (!port.shape.empty() && port.shape[0] < 0) inputs.back()[0] = batch;
      for (const int64_t size : inputs.back()) {
        if (size < 0) return std::vector<bool>(graph.nodes.size());
      }
    }
    std::vector<Shape> shapes;
    try {
      shapes = infer_shapes(graph, tensors, inputs);
    } catch (const Error&) {  // such inputs do not fit: whether others do will show when they come
      return std::vector<bool>(graph.nodes.size());
    }
    for (std::size_t i = 0; i < linear.size(); ++i) {
      if (!linear[i]) continue;
      const Node& node = graph.nodes[i];
      const Windows windows = make_windows(node, shapes[node.input(0)], std::span(shapes[node.input(1)]).subspan(2));
      linear[i] = is_full_window(windows.h) && is_full_window(windows.w);
    }
  }
  return linear;
}

// The packed weights of a file may take as many bytes as its tensors in dense float32, or twice that where codes become
// pairs, and some for each byte of the file. The first is enough for any network; the rest is for small layers, whose
// rows are padded to the kernels' width.
constexpr int64_t kBytesPerElement = 4, kBytesPerPairedElement = 8, kBytesPerByte = 16, kAllowance = int64_t{1} << 24;

template <typename T>
std::size_t bytes_of(const std::vector<T>& vector) {
  return vector.size() * sizeof(T);
}

}  // namespace

// Codes of tensors that are decoded beside each other, each by one thread: as many bytes are held for them. A tensor of
// more codes is decoded alone, its chunks by all threads, and if it is a matrix, a few rows at a time.
constexpr int64_t kGroupCodes = int64_t{1} << 20;

// Decodes a few tensors at a time, packs them for the nodes that use them and frees them.
class Network::Loader {
 public:
  Loader(Network& network, const Parallel& parallel, const KernelWishes& wishes)
      : network_(network),
        parallel_(parallel),
        wishes_(wishes),
        allowance_(kAllowance + kBytesPerByte * static_cast<int64_t>(network.file_bytes_)) {
    const int64_t by_element = network.precision_ == Precision::kFloat32 ? kBytesPerElement : kBytesPerPairedElement;
    for (const Tensor& tensor : network.tensors_) allowance_ += by_element * tensor.elements;
  }

  void load() {
    const auto& nodes = network_.graph_.nodes;
    users_.resize(network_.tensors_.size());
    network_.weights_.resize(nodes.size());
    network_.constants_.resize(network_.tensors_.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (nodes[i].op == Op::kConv || nodes[i].op == Op::kLinear) {
        keep_constant(nodes[i].input(0));
        users_[tensor_of(nodes[i], 1)].push_back(i);
      } else {
        for (const int value : nodes[i].inputs) keep_constant(value);
      }
    }
    for (const Port& port : network_.graph_.outputs) keep_constant(port.value);
    check_wishes();
    linear_ = find_linear_convolutions(network_.graph_, network_.tensors_);
    for (std::size_t t = 0; t < network_.tensors_.size();) t = load_group(t);
    for (Tensor& tensor : network_.tensors_) {
      tensor.payload = {};
      tensor.scale = {};
    }
  }

 private:
  int tensor_of(const Node& node, std::size_t input) const { return network_.graph_.values[node.input(input)].tensor; }

  void keep_constant(int value) {
    const int tensor = network_.graph_.values[value].tensor;
    if (tensor < 0 || network_.constants_[tensor].data() != nullptr) return;
    const Tensor& source = network_.tensors_[tensor];
    AlignedBuffer buffer(source.elements * element_size(source.type));
    copy_elements(source, buffer.data());
    network_.packed_bytes_ += buffer.size();
    network_.constants_[tensor] = std::move(buffer);
  }

  std::vector<float> floats_of(const Tensor& tensor) const {
    std::vector<float> floats(tensor.elements);
    copy_elements(tensor, floats.data());
    return floats;
  }

  // Loads the tensors from `first` on that are decoded together; returns the one behind the last.
  std::size_t load_group(std::size_t first) {
    const auto codes_of = [this](std::size_t t) {
      const Tensor& tensor = network_.tensors_[t];
      return tensor.codec == Codec::kRaw ? 0 : tensor.elements;
    };
    std::size_t last = first + 1;
    for (int64_t total = codes_of(first); last < network_.tensors_.size(); ++last) {
      total += codes_of(last);
      if (total > kGroupCodes) break;
    }
    if (codes_of(first) > kGroupCodes && is_matrix(first)) {
      load_rows(first);
      return last;
    }
    const std::vector<Codes> codes = decode_group(first, last);
    for (std::size_t t = first; t < last; ++t) load_weights(t, codes[t - first].get());
    return last;
  }

  // A Linear node, or a Conv that is one of its flattened input.
  bool is_linear(std::size_t node) const { return network_.graph_.nodes[node].op == Op::kLinear || linear_[node]; }

  // True if none but Linear layers use it.
  bool is_matrix(std::size_t t) const {
    return std::all_of(users_[t].begin(), users_[t].end(), [this](std::size_t node) { return is_linear(node); });
  }

  using Codes = std::unique_ptr<int8_t[]>;

  // Coded tensors without a user are decoded as well: damage is found when the file is loaded.
  std::vector<Codes> decode_group(std::size_t first, std::size_t last) {
    std::vector<Codes> codes(last - first);
    std::vector<std::exception_ptr> failures(last - first);
    const auto decode = [&](std::size_t i, const Parallel& parallel) {
      const Tensor& tensor = network_.tensors_[first + i];
      if (tensor.codec == Codec::kRaw) return;
      codes[i].reset(new int8_t[tensor.elements]);
      decode_codes(tensor, codes[i].get(), parallel);
    };
    if (codes.size() == 1) {
      decode(0, parallel_);
      return codes;
    }
    std::vector<std::size_t> order(codes.size());  // the largest first, so that none is left for the end
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return network_.tensors_[first + a].elements > network_.tensors_[first + b].elements;
    });
    parallel_.run(static_cast<int>(codes.size()), [&](int task, int) {
      const std::size_t i = order[static_cast<std::size_t>(task)];
      try {
        decode(i, {});
      } catch (...) {
        failures[i] = std::current_exception();
      }
    });
    // The first in the file, whichever thread came first.
    for (const std::exception_ptr& failure : failures) {
      if (failure) std::rethrow_exception(failure);
    }
    return codes;
  }

  // codes: those of tensor t, or null where it is not coded.
  void load_weights(std::size_t t, const int8_t* codes) {
    if (users_[t].empty()) return;
    Weights weights;
    std::vector<float> values;
    if (codes != nullptr) {
      weights.codes = codes;
    } else {
      values = floats_of(network_.tensors_[t]);
      weights.values = values.data();
    }
    pack_for_users(t, weights);
  }

  // Decodes the tensor twice: to find out what it holds, and to pack it.
  void load_rows(std::size_t t) {
    CodeReader reader(network_.tensors_[t], parallel_);
    pack_for_users(t, {.reader = &reader});
  }

  void pack_for_users(std::size_t t, Weights weights) {
    const Tensor& tensor = network_.tensors_[t];
    weights.rows = tensor.shape[0];
    weights.depth = tensor.elements / tensor.shape[0];
    Counted counted;
    for (const std::size_t node : users_[t]) {
      counted.column_nonzeros |= is_linear(node);
      counted.large_quads |=
          !is_linear(node) && network_.precision_ == Precision::kInt8 && !network_.kernels_.has_dot_products;
    }
    const WeightStatistics statistics = statistics_of(weights, counted);
    weights.statistics = &statistics;
    packed_.clear();
    for (const std::size_t node : users_[t]) pack(node, tensor, weights);
  }

  void pack(std::size_t i, const Tensor& tensor, const Weights& weights) {
    const Node& node = network_.graph_.nodes[i];
    auto result = std::make_unique<NodeWeights>();
    const bool conv = !is_linear(i);
    const ConvGeometry geometry = conv ? geometry_of(node, tensor.shape) : ConvGeometry{};
    spend(node, 2 * weights.rows * static_cast<int64_t>(sizeof(float)));  // scale and bias
    // Nodes that use the same weight in the same way share the packed layer.
    const auto wish = wishes_.find(node.name);
    const int wanted = wish == wishes_.end() ? -1 : static_cast<int>(wish->second);
    const Key key{conv,  geometry.group, geometry.stride_h, geometry.stride_w, geometry.dilation_h, geometry.dilation_w,
                  wanted};
    const auto [found, is_new] = packed_.try_emplace(key);
    if (is_new) found->second = pack_layer(node, weights, conv ? &geometry : nullptr);
    *result = found->second;
    result->scale = merged_scale(node, tensor);
    if (node.input(3) != kAbsent) result->bias = floats_of(network_.tensors_[tensor_of(node, 3)]);
    network_.packed_bytes_ += bytes_of(result->scale) + bytes_of(result->bias);
    network_.weights_[i] = std::move(result);
  }

  // geometry: of a convolution, or null.
  NodeWeights pack_layer(const Node& node, const Weights& weights, const ConvGeometry* geometry) {
    NodeWeights layer;
    layer.is_linear = geometry == nullptr;
    const bool is_integer = network_.precision_ != Precision::kFloat32 && IntegerLayer::can_multiply(weights);
    const bool has_dot_products = network_.kernels_.has_dot_products;
    layer.choice = choose(node, is_integer ? facts_of(weights, geometry, network_.precision_, has_dot_products)
                                           : facts_of(weights, geometry, Precision::kFloat32));
    const KernelKind kind = layer.choice.kind;
    std::size_t bytes;
    if (is_integer) {
      spend(node, geometry ? IntegerLayer::most_bytes(weights, *geometry, kind, has_dot_products)
                           : IntegerLayer::most_linear_bytes(weights, kind));
      layer.integer = geometry ? IntegerLayer::pack(weights, *geometry, network_.precision_, kind, has_dot_products)
                               : IntegerLayer::pack_linear(weights, network_.precision_, kind);
      bytes = layer.integer->packed_bytes();
    } else if (geometry) {
      spend(node, ConvLayer::most_bytes(weights, *geometry, kind));
      layer.conv = ConvLayer::pack(weights, *geometry, kind);
      bytes = layer.conv->packed_bytes();
    } else {
      spend(node, LinearLayer::most_bytes(weights, kind));
      layer.linear = LinearLayer::pack(weights, kind);
      bytes = layer.linear->packed_bytes();
    }
    network_.packed_bytes_ += bytes;
    return layer;
  }

  KernelChoice choose(const Node& node, const LayerFacts& facts) const {
    KernelChoice choice{.facts = facts, .options = kernel_options(facts)};
    choice.kind = cheapest(choice.options);
    const auto wish = wishes_.find(node.name);
    if (wish == wishes_.end()) return choice;
    choice.kind = wish->second;
    choice.is_wanted = true;
    std::string kinds;
    for (const KernelOption& option : choice.options) {
      if (option.kind == choice.kind) return choice;
      kinds += (kinds.empty() ? "" : ", ") + std::string(name_of(option.kind));
    }
    node.fail(ErrorCode::kInput,
              "the kernel " + std::string(name_of(choice.kind)) + " cannot multiply its weights: expected " + kinds);
  }

  void check_wishes() const {
    const auto& nodes = network_.graph_.nodes;
    for (const auto& wish : wishes_) {
      const bool is_layer = std::any_of(nodes.begin(), nodes.end(), [&](const Node& node) {
        return node.name == wish.first && (node.op == Op::kConv || node.op == Op::kLinear);
      });
      if (!is_layer) {
        throw Error(ErrorCode::kInput, "kernel " + std::string(name_of(wish.second)) + " for " + wish.first +
                                           ": there is no Conv or Linear of that name (opq inspect lists the layers)");
      }
    }
  }

  // Bounds the memory that a small file can ask for: by naming one weight in many nodes, or by shapes that the layers
  // have to pad.
  void spend(const Node& node, int64_t bytes) {
    allowance_ -= bytes;
    if (allowance_ < 0) {
      node.fail(ErrorCode::kUnsupported, "the weights of all nodes together are too large for their file");
    }
  }

  static ConvGeometry geometry_of(const Node& node, const Shape& weight) {
    const bool flat = weight.size() == 3;
    const auto& strides = node.integers("strides");
    const auto& dilations = node.integers("dilations");
    ConvGeometry geometry;
    geometry.group = node.integer("group");
    geometry.kernel_h = flat ? 1 : weight[2];
    geometry.kernel_w = weight.back();
    geometry.stride_h = flat ? 1 : strides[0];
    geometry.stride_w = strides.back();
    geometry.dilation_h = flat ? 1 : dilations[0];
    geometry.dilation_w = dilations.back();
    return geometry;
  }

  // The codes' step * scale[channel] and then the node's own scale, each product rounded to float32.
  std::vector<float> merged_scale(const Node& node, const Tensor& tensor) const {
    std::vector<float> scale;
    if (tensor.codec != Codec::kRaw) {
      scale = tensor.has_channel_axis ? tensor.scale : std::vector<float>(tensor.shape[0], 1.0f);
      for (float& s : scale) s = tensor.step * s;
    }
    if (node.input(2) == kAbsent) return scale;
    const std::vector<float> own = floats_of(network_.tensors_[tensor_of(node, 2)]);
    if (scale.empty()) return own;
    for (std::size_t channel = 0; channel < own.size(); ++channel) scale[channel] *= own[channel];
    return scale;
  }

  using Key = std::tuple<bool, int64_t, int64_t, int64_t, int64_t, int64_t, int>;

  Network& network_;
  const Parallel& parallel_;
  const KernelWishes& wishes_;
  int64_t allowance_;                            // bytes that may still be packed
  std::vector<std::vector<std::size_t>> users_;  // by tensor: the nodes whose weight it is
  std::vector<bool> linear_;                     // by node
  std::map<Key, NodeWeights> packed_;            // of one tensor, without scale and bias
};

Network::Network(Bytes file, const Parallel& parallel, Precision precision, const KernelWishes& wishes)
    : precision_(precision), kernels_(choose_kernels()), file_bytes_(file.size()) {
  const Container container = parse_container(file);
  tensors_ = parse_tensors(container.tensors, container.data);
  has_graph_ = container.has_graph;
  if (has_graph_) graph_ = parse_graph(container.graph, tensors_);
  if (container.has_ranges) {
    if (!has_graph_)
      throw Error(ErrorCode::kFormat, "section ACTV gives ranges to the values of a graph, there is none");
    ranges_ = parse_ranges(container.ranges, graph_);
  }
  Loader(*this, parallel, wishes).load();
}

std::size_t Network::weights_bytes(std::size_t node) const {
  if (!weights_[node]) return 0;
  const NodeWeights& weights = *weights_[node];
  if (weights.integer) return weights.integer->packed_bytes();
  return weights.conv ? weights.conv->packed_bytes() : weights.linear->packed_bytes();
}

}  // namespace opq
