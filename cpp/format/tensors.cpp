#include "format/tensors.h"

#include <cmath>
#include <unordered_set>

#include "format/packed.h"

namespace opq {
namespace {

constexpr uint32_t kMaxTensors = 1'000'000;
constexpr int kMaxRank = 8;
constexpr uint64_t kMaxElements = uint64_t{1} << 36;
constexpr uint8_t kNoChannelAxis = 255;

// What the streams of a file may expand to together; one stream is bounded by itself, too.
constexpr uint64_t kElementsPerByte = 512, kAllowance = uint64_t{1} << 24;

Tensor parse_entry(ByteReader& reader, uint64_t& payload_bytes) {
  Tensor tensor;
  tensor.name = reader.string("tensor name");
  if (tensor.name.empty()) reader.fail("a tensor has an empty name");
  tensor.type = checked_element_type(reader.u8("element type"), reader);
  const uint8_t codec = reader.u8("codec");
  const bool half = is_half_precision(codec);
  if (codec > 3 && !half) reader.fail("tensor " + tensor.name + " has the unknown codec " + std::to_string(codec));
  tensor.codec = half ? Codec::kRaw : static_cast<Codec>(codec);
  if (half) tensor.floats = static_cast<FloatCodec>(codec);
  const uint8_t rank = reader.u8("rank");
  if (rank > kMaxRank) reader.fail("tensor " + tensor.name + " has more than 8 dimensions");
  if (reader.u8("reserved byte") != 0) reader.fail("a reserved byte of tensor " + tensor.name + " is not 0");

  uint64_t elements = 1, bound = 1;
  for (int axis = 0; axis < rank; ++axis) {
    const uint64_t size = reader.u64("dimension");
    // Bounded without the zeros, so that no order of multiplication can overflow.
    if (size > kMaxElements || (size > 0 && bound > kMaxElements / size)) {
      reader.fail("tensor " + tensor.name + " has more than 2^36 elements");
    }
    bound *= size > 0 ? size : 1;
    elements *= size;
    tensor.shape.push_back(static_cast<int64_t>(size));
  }
  tensor.elements = static_cast<int64_t>(elements);
  payload_bytes = reader.u64("payload length");
  if (codec != 0 && tensor.type != ElementType::kFloat32) {
    reader.fail("tensor " + tensor.name + " has a codec for float32 but is " + element_name(tensor.type));
  }
  if (tensor.codec == Codec::kRaw) return tensor;

  if (elements == 0) reader.fail("tensor " + tensor.name + " has codes but no elements");
  tensor.step = reader.f32("step");
  if (!std::isfinite(tensor.step) || tensor.step <= 0) {
    reader.fail("the step of tensor " + tensor.name + " is not finite and positive");
  }
  tensor.levels = reader.u16("levels");
  if (tensor.levels < 1 || tensor.levels > kMaxLevels) {
    reader.fail("tensor " + tensor.name + " has " + std::to_string(tensor.levels) + " levels, not 1 to 127");
  }
  const uint8_t axis = reader.u8("channel axis");
  if (axis != kNoChannelAxis && axis >= rank) {
    reader.fail("tensor " + tensor.name + " has no axis " + std::to_string(axis));
  }
  tensor.has_channel_axis = axis != kNoChannelAxis;
  tensor.channel_axis = tensor.has_channel_axis ? axis : 0;
  const uint8_t scales = reader.u8("codec of the scales");
  if (scales != 0 && !(tensor.has_channel_axis && is_half_precision(scales))) {
    reader.fail("the scales of tensor " + tensor.name + " have the unknown codec " + std::to_string(scales));
  }
  tensor.floats = static_cast<FloatCodec>(scales);
  return tensor;
}

std::size_t stored_bytes(const Tensor& tensor) {
  const bool floats = tensor.type == ElementType::kFloat32;
  return tensor.elements * (floats ? float_bytes(tensor.floats) : element_size(tensor.type));
}

// Splits the scales off and compares the payload's length with what codec and shape ask for.
void check_payload(Tensor& tensor, Bytes payload, const ByteReader& reader) {
  const uint64_t elements = static_cast<uint64_t>(tensor.elements);
  if (tensor.has_channel_axis) {
    const uint64_t channels = static_cast<uint64_t>(tensor.shape[tensor.channel_axis]);
    const std::size_t size = float_bytes(tensor.floats);
    if (payload.size() / size < channels) reader.fail("the scales of tensor " + tensor.name + " are cut off");
    tensor.scale.resize(channels);
    decode_floats(tensor.floats, payload.first(channels * size), tensor.scale.data());
    for (const float scale : tensor.scale) {
      if (!std::isfinite(scale)) reader.fail("a scale of tensor " + tensor.name + " is not finite");
    }
    payload = payload.subspan(channels * size);
  }
  tensor.payload = payload;

  if (tensor.codec != Codec::kRaw) {
    try {
      check_stream_length(tensor.codec, elements, tensor.levels, payload.size());
    } catch (const Error& error) {
      reader.fail("tensor " + tensor.name + ": " + error.what());
    }
  } else if (payload.size() != stored_bytes(tensor)) {
    reader.fail("tensor " + tensor.name + " has a payload of " + std::to_string(payload.size()) + " bytes, not " +
                std::to_string(stored_bytes(tensor)));
  }
}

}  // namespace

const char* element_name(ElementType type) {
  return type == ElementType::kFloat32 ? "float32" : type == ElementType::kInt32 ? "int32" : "int64";
}

ElementType checked_element_type(uint8_t stored, const ByteReader& reader) {
  if (stored < 1 || stored > 3) reader.fail("unknown element type " + std::to_string(stored));
  return static_cast<ElementType>(stored);
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::vector<Tensor> parse_tensors(Bytes directory, Bytes data) {
  ByteReader reader(directory, "TENS");
  const uint32_t count = reader.u32("number of tensors");
  if (count > kMaxTensors) reader.fail("more than 1,000,000 tensors");
  std::vector<Tensor> tensors;
  std::unordered_set<std::string> names;
  uint64_t offset = 0, coded = 0;
  for (uint32_t i = 0; i < count; ++i) {
    uint64_t payload_bytes;
    Tensor tensor = parse_entry(reader, payload_bytes);
    if (!names.insert(tensor.name).second) reader.fail("two tensors are called " + tensor.name);
    if (payload_bytes > data.size() - offset) reader.fail("the payload of tensor " + tensor.name + " is cut off");
    check_payload(tensor, data.subspan(offset, payload_bytes), reader);
    offset += payload_bytes;
    if (tensor.codec != Codec::kRaw) coded += static_cast<uint64_t>(tensor.elements);
    tensors.push_back(std::move(tensor));
  }
  if (reader.remaining() > 0) reader.fail("bytes after the last tensor");
  if (offset != data.size()) {
    throw Error(ErrorCode::kFormat,
                "DATA has " + std::to_string(data.size()) + " bytes, the tensors' payloads " + std::to_string(offset));
  }
  if (coded > kAllowance + kElementsPerByte * data.size()) {
    throw Error(ErrorCode::kFormat, "the tensors have more elements than DATA can hold");
  }
  return tensors;
}

void copy_elements(const Tensor& tensor, void* elements) {
  if (tensor.type == ElementType::kFloat32) {
    decode_floats(tensor.floats, tensor.payload, static_cast<float*>(elements));
  } else if (!tensor.payload.empty()) {
    std::memcpy(elements, tensor.payload.data(), tensor.payload.size());
  }
}

void decode_codes(const Tensor& tensor, int8_t* codes, const Parallel& parallel) {
  named(tensor, [&] {
    decode_codes(tensor.codec, tensor.payload, tensor.levels, codes, static_cast<std::size_t>(tensor.elements),
                 parallel);
  });
}

}  // namespace opq
