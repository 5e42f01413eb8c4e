// The graph of a network: nodes in the order of execution between numbered values. See docs/format.md, GRPH.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "format/tensors.h"
#include "runtime/operators.h"

namespace opq {

inline constexpr int kMaxRank = 8;
inline constexpr int kUnknownRank = -1;
inline constexpr int kAbsent = 0;  // the value that stands for an absent optional input

// What is known about a value before the shapes of the inputs are.
struct Value {
  std::string name;
  bool made = false;
  ElementType type = ElementType::kFloat32;
  int rank = kUnknownRank;  // unknown only behind a Squeeze without axes
  int tensor = -1;          // its number in the directory, or -1
};

struct Node {
  Op op;
  std::string name;
  std::vector<int> inputs;  // values; kAbsent where an optional one is missing
  int output;
  std::map<std::string, Attribute> attributes;  // exactly those of the operator, of the right kinds

  int input(std::size_t i) const { return i < inputs.size() ? inputs[i] : kAbsent; }

  int64_t integer(const char* key) const { return std::get<int64_t>(attributes.at(key)); }
  float number(const char* key) const { return std::get<float>(attributes.at(key)); }
  const std::string& text(const char* key) const { return std::get<std::string>(attributes.at(key)); }
  const std::vector<int64_t>& integers(const char* key) const {
    return std::get<std::vector<int64_t>>(attributes.at(key));
  }

  // Throws an Error whose message names the node.
  [[noreturn]] void fail(ErrorCode code, const std::string& message) const;
};

// A graph input or output as the file declares it.
struct Port {
  int value;
  ElementType type;
  Shape shape;  // -1: any size
};

struct Graph {
  std::vector<Value> values;
  std::vector<Port> inputs, outputs;
  std::vector<Node> nodes;
};

// Throws Error(kFormat) for whatever docs/format.md does not allow.
Graph parse_graph(Bytes section, const std::vector<Tensor>& tensors);

// Checks a node's attributes and the types and ranks of its inputs, and sets those of its output.
void check_node(const Node& node, const std::vector<Tensor>& tensors, std::vector<Value>& values);

// `axis` counted from the front, for a value of `rank` dimensions; a negative one counts from the end. -1: out of
// range.
int64_t normalized_axis(int64_t axis, int64_t rank);

}  // namespace opq
