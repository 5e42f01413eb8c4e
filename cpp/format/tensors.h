// The tensor directory: names, shapes, codecs and views of the payloads. See docs/format.md, TENS.
#pragma once

#include <string>
#include <vector>

#include "format/codec.h"
#include "format/half_precision.h"

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
  Codec codec;  // kRaw for every dense tensor
  Shape shape;
  int64_t elements;
  FloatCodec floats = FloatCodec::kRaw;  // of a dense float32 tensor's elements; of a coded one's channel scales

  // Of a coded tensor: the value of an element is code * (step * scale[channel]), -levels <= code <= levels.
  float step = 0;
  int levels = 0;
  bool has_channel_axis = false;
  int channel_axis = 0;
  std::vector<float> scale;  // one per channel; empty without a channel axis

  Bytes payload;  // dense: the elements in C order; else the codec's stream
};

// `data` is the section DATA. Checks everything but the codec streams' insides. Throws Error(kFormat).
std::vector<Tensor> parse_tensors(Bytes directory, Bytes data);

// The elements of a dense tensor in C order, element_size(tensor.type) bytes each.
void copy_elements(const Tensor& tensor, void* elements);

// decode(), whose errors name the tensor.
template <typename Decode>
void named(const Tensor& tensor, const Decode& decode) {
  try {
    decode();
  } catch (const Error& error) {
    throw Error(error.code(), "tensor " + tensor.name + ": " + error.what());
  }
}

// The codes of a coded tensor in C order: codes[tensor.elements]. Throws Error(kFormat) naming the tensor.
void decode_codes(const Tensor& tensor, int8_t* codes, const Parallel& parallel = {});

}  // namespace opq
