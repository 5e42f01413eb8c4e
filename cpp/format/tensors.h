// The tensor directory: names, shapes, codecs and views of the payloads. See docs/format.md, TENS.
#pragma once

#include <string>
#include <vector>

#include "format/codec.h"

namespace opq {

enum class ElementType : uint8_t { kFloat32 = 1, kInt32 = 2, kInt64 = 3 };

inline std::size_t element_size(ElementType type) { return type == ElementType::kInt64 ? 8 : 4; }
const char* element_name(ElementType type);  // "float32", "int32", "int64"
ElementType checked_element_type(uint8_t stored, const ByteReader& reader);

using Shape = std::vector<int64_t>;

// "[1, 3, 224, 224]"
std::string to_string(const Shape& shape);

struct Tensor {
  std::string name;
  ElementType type;
  Codec codec;
  Shape shape;
  int64_t elements;

  // For kPacked and kRans0: the value of an element is code * (step * scale[channel]), -levels <= code <= levels.
  float step = 0;
  int levels = 0;
  bool has_channel_axis = false;
  int channel_axis = 0;
  std::vector<float> scale;  // one per channel; empty without a channel axis

  Bytes payload;  // raw: the elements in C order; else the codec's stream
};

// `data` is the section DATA. Checks everything but the codec streams' insides. Throws Error(kFormat).
std::vector<Tensor> parse_tensors(Bytes directory, Bytes data);

// The codes of a kPacked or kRans0 tensor in C order: codes[tensor.elements]. Throws Error(kFormat) naming the tensor.
void decode_codes(const Tensor& tensor, int8_t* codes);

}  // namespace opq
