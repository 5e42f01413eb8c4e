#include "runtime/graph.h"

#include <cmath>
#include <unordered_map>
#include <unordered_set>

namespace opq {
namespace {

constexpr uint32_t kMaxValues = 1 << 20, kMaxNodes = 1 << 20;

class Parser {
 public:
  Parser(Bytes section, const std::vector<Tensor>& tensors) : reader_(section, "GRPH"), tensors_(tensors) {}

  Graph parse() {
    parse_values();
    const uint32_t inputs = reader_.u32("number of inputs");
    if (inputs > kMaxValues) reader_.fail("more than 2^20 graph inputs");
    for (uint32_t i = 0; i < inputs; ++i) {
      const Port port = parse_port();
      make(port.value, port.type, static_cast<int>(port.shape.size()));
      graph_.inputs.push_back(port);
    }
    const uint32_t outputs = reader_.u32("number of outputs");
    if (outputs > kMaxValues) reader_.fail("more than 2^20 graph outputs");
    for (uint32_t i = 0; i < outputs; ++i) graph_.outputs.push_back(parse_port());
    const uint32_t nodes = reader_.u32("number of nodes");
    if (nodes > kMaxNodes) reader_.fail("more than 2^20 nodes");
    for (uint32_t i = 0; i < nodes; ++i) {
      Node node = parse_node();
      check_node(node, tensors_, graph_.values);
      graph_.nodes.push_back(std::move(node));
    }
    if (reader_.remaining() > 0) reader_.fail("bytes after the last node");
    for (const Port& port : graph_.outputs) check_output(port);
    return std::move(graph_);
  }

 private:
  void parse_values() {
    std::unordered_map<std::string, int> tensor_of;
    for (std::size_t t = 0; t < tensors_.size(); ++t) tensor_of.emplace(tensors_[t].name, static_cast<int>(t));
    const uint32_t count = reader_.u32("number of values");
    if (count < 1 || count > kMaxValues) reader_.fail(std::to_string(count) + " values, not 1 to 2^20");
    std::unordered_set<std::string> names;
    for (uint32_t i = 0; i < count; ++i) {
      Value value;
      value.name = reader_.string("value name");
      if (value.name.empty() != (i == kAbsent)) reader_.fail("value 0, and no other, must have the empty name");
      if (!names.insert(value.name).second) reader_.fail("two values are called " + value.name);
      if (const auto found = tensor_of.find(value.name); found != tensor_of.end()) {
        const Tensor& tensor = tensors_[found->second];
        value.made = true;
        value.type = tensor.type;
        value.rank = static_cast<int>(tensor.shape.size());
        value.tensor = found->second;
      }
      graph_.values.push_back(std::move(value));
    }
  }

  int parse_value_number(const char* what) {
    const uint32_t number = reader_.u32(what);
    if (number >= graph_.values.size()) reader_.fail("there is no value " + std::to_string(number));
    return static_cast<int>(number);
  }

  void make(int value, ElementType type, int rank) {
    Value& made = graph_.values[value];
    if (value == kAbsent) reader_.fail("the empty value is made");
    if (made.made) reader_.fail("value " + made.name + " is made twice");
    made.made = true;
    made.type = type;
    made.rank = rank;
  }

  Port parse_port() {
    Port port;
    port.value = parse_value_number("input or output");
    port.type = checked_element_type(reader_.u8("element type"), reader_);
    const uint8_t rank = reader_.u8("rank");
    const std::string& name = graph_.values[port.value].name;
    if (rank > kMaxRank) reader_.fail("value " + name + " has more than 8 dimensions");
    for (int axis = 0; axis < rank; ++axis) {
      const int64_t size = reader_.i64("dimension");
      if (size < -1) reader_.fail("value " + name + " has a negative dimension");
      if (size == -1) reader_.string("name of a dimension");
      port.shape.push_back(size);
    }
    return port;
  }

  Node parse_node() {
    Node node;
    const std::string op = reader_.string("operator");
    node.name = reader_.string("node name");
    const OperatorRule* rule = find_operator(op);
    if (rule == nullptr) reader_.fail("node " + node.name + " has the unknown operator " + op);
    node.op = rule->op;

    const int inputs = reader_.u8("number of inputs");
    if (inputs < rule->required_inputs || inputs > rule->max_inputs) {
      node.fail(ErrorCode::kFormat, "it has " + std::to_string(inputs) + " inputs");
    }
    for (int i = 0; i < inputs; ++i) {
      const int value = parse_value_number("node input");
      const bool may_be_absent = i >= rule->required_inputs && node.op != Op::kConcat;
      if (value == kAbsent && !may_be_absent) node.fail(ErrorCode::kFormat, "a needed input is absent");
      if (value != kAbsent && !graph_.values[value].made) {
        node.fail(ErrorCode::kFormat, "its input " + graph_.values[value].name + " has not been made before");
      }
      node.inputs.push_back(value);
    }
    if (reader_.u8("number of outputs") != 1) node.fail(ErrorCode::kFormat, "it does not have exactly one output");
    node.output = parse_value_number("node output");
    make(node.output, ElementType::kFloat32, kUnknownRank);
    parse_attributes(*rule, node);
    return node;
  }

  void parse_attributes(const OperatorRule& rule, Node& node) {
    const std::size_t count = reader_.u8("number of attributes");
    for (std::size_t i = 0; i < count; ++i) {
      const std::string key = reader_.string("attribute name");
      const uint8_t kind = reader_.u8("attribute kind");
      bool known = false;
      for (const AttributeRule& attribute : rule.attributes) known |= key == attribute.key && kind == attribute.kind;
      if (!known) node.fail(ErrorCode::kFormat, "unknown attribute " + key + " of kind " + std::to_string(kind));
      if (!node.attributes.emplace(key, parse_attribute(kind, node)).second) {
        node.fail(ErrorCode::kFormat, "the attribute " + key + " occurs twice");
      }
    }
    for (const AttributeRule& attribute : rule.attributes) {
      if (!node.attributes.contains(attribute.key)) {
        node.fail(ErrorCode::kFormat, std::string("the attribute ") + attribute.key + " is missing");
      }
    }
  }

  Attribute parse_attribute(uint8_t kind, const Node& node) {
    if (kind == 1) return reader_.i64("attribute");
    if (kind == 2) {
      const float number = reader_.f32("attribute");
      if (std::isnan(number)) node.fail(ErrorCode::kFormat, "an attribute is not a number");
      return number;
    }
    if (kind == 3) return reader_.string("attribute");
    std::vector<int64_t> numbers(reader_.u16("length of an attribute"));
    for (int64_t& number : numbers) number = reader_.i64("attribute");
    return numbers;
  }

  void check_output(const Port& port) const {
    const Value& value = graph_.values[port.value];
    const std::string what = "graph output " + value.name;
    if (port.value == kAbsent || !value.made) reader_.fail(what + " is never made");
    if (value.tensor >= 0 && tensors_[value.tensor].codec != Codec::kRaw) reader_.fail(what + " is a tensor of codes");
    if (value.type != port.type) {
      reader_.fail(what + " is declared " + element_name(port.type) + " but is " + element_name(value.type));
    }
    if (value.rank != kUnknownRank && value.rank != static_cast<int>(port.shape.size())) {
      reader_.fail(what + " is declared with " + std::to_string(port.shape.size()) + " dimensions but has " +
                   std::to_string(value.rank));
    }
  }

  ByteReader reader_;
  const std::vector<Tensor>& tensors_;
  Graph graph_;
};

}  // namespace

void Node::fail(ErrorCode code, const std::string& message) const {
  throw Error(code, std::string(operator_name(op)) + " node " + name + ": " + message);
}

Graph parse_graph(Bytes section, const std::vector<Tensor>& tensors) { return Parser(section, tensors).parse(); }

int64_t normalized_axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) return -1;
  return axis < 0 ? axis + rank : axis;
}

}  // namespace opq
