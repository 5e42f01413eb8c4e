// The module opq._core: the core's classes and functions for Python. No logic; docstrings are in src/opq/_core.pyi.
#include <pybind11/stl.h>

#include <algorithm>
#include <limits>

#include "bindings/arrays.h"
#include "bindings/compress.h"
#include "format/codec.h"
#include "format/crc32c.h"
#include "format/grouped/parameters.h"
#include "format/packed.h"
#include "runtime/matrix.h"
#include "runtime/network.h"
#include "runtime/peak.h"
#include "runtime/round_trip.h"
#include "runtime/session.h"
#include "runtime/thread_pool.h"

namespace py = pybind11;

namespace opq {
namespace {

using bindings::checked_data;
using bindings::checked_levels;
using bindings::fail;
using bindings::in_c_order;

// The bytes of a bytes-like object, held for as long as this lives.
class ByteView {
 public:
  explicit ByteView(const py::object& object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) throw py::error_already_set();
  }
  ~ByteView() { PyBuffer_Release(&view_); }
  ByteView(const ByteView&) = delete;
  ByteView& operator=(const ByteView&) = delete;

  Bytes bytes() const { return {static_cast<const uint8_t*>(view_.buf), static_cast<std::size_t>(view_.len)}; }

 private:
  Py_buffer view_;
};

py::dtype dtype_of(ElementType type) {
  switch (type) {
    case ElementType::kInt32:
      return py::dtype::of<int32_t>();
    case ElementType::kInt64:
      return py::dtype::of<int64_t>();
    default:
      return py::dtype::of<float>();
  }
}

Shape shape_of(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

InputArray input_array(std::string_view name, const py::array& array) {
  const Shape shape = shape_of(array);
  for (const ElementType type : {ElementType::kFloat32, ElementType::kInt32, ElementType::kInt64}) {
    if (!array.dtype().equal(dtype_of(type))) continue;
    if (!in_c_order(array)) fail("input " + std::string(name) + " is not in C order");
    return {name, type, shape, static_cast<const std::byte*>(array.data())};
  }
  fail("input " + std::string(name) + " is " + std::string(py::str(static_cast<py::object>(array.dtype()))) + " " +
       to_string(shape) + ", expected float32, int32 or int64");
}

// An array that owns the result's memory.
py::array to_numpy(OutputArray output) {
  const py::capsule owner(output.data.get(), [](void* memory) { delete[] static_cast<std::byte*>(memory); });
  return {dtype_of(output.type), output.shape, output.data.release(), owner};
}

py::list ports(const Network& network, const std::vector<Port>& ports) {
  py::list result;
  for (const Port& port : ports) {
    result.append(py::make_tuple(network.graph().values[port.value].name, element_name(port.type),
                                 py::tuple(py::cast(port.shape))));
  }
  return result;
}

py::list run(Session& session, const py::dict& inputs, const std::vector<std::string>& outputs) {
  // A snapshot: another thread may change the dict.
  std::vector<std::pair<std::string, py::array>> arrays;
  for (const py::handle item : py::list(inputs.attr("items")())) {
    const auto [key, array] = item.cast<std::pair<py::object, py::object>>();
    if (!py::isinstance<py::str>(key)) fail("the name of an input is not a string");
    // What UTF-8 cannot hold raises UnicodeEncodeError, which is a ValueError.
    std::string name = py::reinterpret_borrow<py::str>(key);
    if (!py::isinstance<py::array>(array)) fail("input " + name + " is not an array");
    arrays.emplace_back(std::move(name), array.cast<py::array>());
  }
  std::vector<InputArray> views;
  for (const auto& [name, array] : arrays) views.push_back(input_array(name, array));
  std::vector<OutputArray> results;
  {
    const py::gil_scoped_release release;
    results = session.run(views, outputs);
  }
  py::list list;
  for (OutputArray& result : results) list.append(to_numpy(std::move(result)));
  return list;
}

py::list profile(const Session& session) {
  std::vector<StepProfile> steps;
  {
    const py::gil_scoped_release release;
    steps = session.profile();
  }
  py::list result;
  for (const StepProfile& step : steps) {
    py::dict entry;
    entry["name"] = step.name;
    entry["op"] = step.op;
    entry["kernel"] = step.kernel;
    entry["shape"] = py::tuple(py::cast(step.shape));
    entry["nonzeros"] = step.nonzeros;
    entry["seconds"] = step.seconds;
    result.append(entry);
  }
  return result;
}

std::unique_ptr<Matrix> make_matrix(const py::array& codes, const py::array& scale, bool single_column) {
  const int8_t* code_data = checked_data<int8_t>(codes, 2, "codes");
  const float* scale_data = checked_data<float>(scale, 1, "scale");
  if (scale.shape(0) != codes.shape(0)) fail("scale does not have one number per row of codes");
  std::vector<float> scales(scale_data, scale_data + scale.shape(0));
  const py::gil_scoped_release release;
  return std::make_unique<Matrix>(code_data, codes.shape(0), codes.shape(1), std::move(scales), single_column);
}

py::array matmul(const Matrix& matrix, const py::array& x, int threads) {
  const float* data = checked_data<float>(x, 2, "x");
  if (x.shape(0) != matrix.depth()) {
    fail("x has " + std::to_string(x.shape(0)) + " rows, the matrix " + std::to_string(matrix.depth()) + " columns");
  }
  const int64_t columns = x.shape(1);
  py::array_t<float> y({matrix.rows(), columns});
  float* result = y.mutable_data();
  {
    const py::gil_scoped_release release;
    matrix.matmul(data, columns, threads, result);
  }
  return y;
}

// The threads of one call on `codes` codes: no more than there can be chunks, which starting a thread for would cost
// more than it gains.
class Threads {
 public:
  Threads(int threads, uint64_t codes) {
    check_thread_count(threads);
    pool_ = make_thread_pool(static_cast<int>(std::min<uint64_t>(threads, 1 + codes / grouped::kChunkCodes)));
  }

  Parallel parallel() {
    return {pool_->threads(), [this](int tasks, const Parallel::Task& run) { pool_->parallel_for(tasks, run); }};
  }

 private:
  std::unique_ptr<ThreadPool> pool_;
};

CodeLayout layout_of(const py::array& codes) { return code_layout({codes.shape(), codes.shape() + codes.ndim()}); }

py::bytes to_bytes(const std::vector<uint8_t>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

uint64_t checked_count(int64_t count) {
  if (count < 1 || count > int64_t{1} << 36) fail("count is " + std::to_string(count) + ", not 1 to 2^36");
  return static_cast<uint64_t>(count);
}

py::bytes encode(const py::array& codes, int levels, const std::string& codec_name, int threads) {
  const Codec codec = code_codec(codec_name);
  const int8_t* data = checked_data<int8_t>(codes, static_cast<int>(codes.ndim()), "codes");
  const std::size_t count = static_cast<std::size_t>(codes.size());
  if (count == 0) fail("there are no codes");
  const CodeLayout layout = layout_of(codes);
  std::vector<uint8_t> stream;
  {
    const py::gil_scoped_release release;
    Threads pool(threads, count);
    stream = encode_codes(codec, data, count, checked_levels(levels), layout, pool.parallel());
  }
  return to_bytes(stream);
}

double estimate(const py::array& codes, int threads) {
  const int8_t* data = checked_data<int8_t>(codes, static_cast<int>(codes.ndim()), "codes");
  const std::size_t count = static_cast<std::size_t>(codes.size());
  const CodeLayout layout = layout_of(codes);
  const py::gil_scoped_release release;
  Threads pool(threads, count);
  return estimate_grouped(data, CodeType::kInt8, count, layout, pool.parallel());
}

py::array decode(const py::object& data, int64_t count, int levels, const std::string& codec_name, int threads) {
  const Codec codec = code_codec(codec_name);
  const ByteView view(data);
  check_stream_length(codec, checked_count(count), checked_levels(levels), view.bytes().size());
  py::array_t<int8_t> codes(count);
  int8_t* result = codes.mutable_data();
  {
    const py::gil_scoped_release release;
    Threads pool(threads, static_cast<uint64_t>(count));
    decode_codes(codec, view.bytes(), levels, result, static_cast<std::size_t>(count), pool.parallel());
  }
  return codes;
}

CodeType code_type(const py::dtype& dtype) {
  if (dtype.equal(py::dtype::of<int8_t>())) return CodeType::kInt8;
  if (dtype.equal(py::dtype::of<int16_t>())) return CodeType::kInt16;
  if (dtype.equal(py::dtype::of<int32_t>())) return CodeType::kInt32;
  if (dtype.equal(py::dtype::of<uint8_t>())) return CodeType::kUint8;
  if (dtype.equal(py::dtype::of<uint16_t>())) return CodeType::kUint16;
  fail("integers are int8, int16, int32, uint8 or uint16");
}

py::bytes encode_integers(const py::array& values, int threads) {
  const CodeType type = code_type(values.dtype());
  if (!in_c_order(values)) fail("values is not an array in C order");
  const CodeLayout layout = layout_of(values);
  std::vector<uint8_t> stream;
  {
    const py::gil_scoped_release release;
    Threads pool(threads, static_cast<uint64_t>(values.size()));
    stream = encode_grouped(values.data(), type, static_cast<std::size_t>(values.size()), layout, pool.parallel());
  }
  return to_bytes(stream);
}

py::array decode_integers(const py::object& data, int64_t count, const py::dtype& dtype, int threads) {
  const CodeType type = code_type(dtype);
  const ByteView view(data);
  check_stream_length(Codec::kGrouped, checked_count(count), kMaxLevels, view.bytes().size());
  py::array values(dtype, std::vector<py::ssize_t>{static_cast<py::ssize_t>(count)});
  void* result = values.mutable_data();
  {
    const py::gil_scoped_release release;
    Threads pool(threads, static_cast<uint64_t>(count));
    with_code_type(type, [&](auto tag) {
      using Limits = std::numeric_limits<typename decltype(tag)::type>;
      decode_grouped(view.bytes(), Limits::min(), Limits::max(), result, type, static_cast<std::size_t>(count),
                     pool.parallel());
    });
  }
  return values;
}

Precision precision_of(const std::string& name) {
  for (const Precision precision : {Precision::kFloat32, Precision::kInt16, Precision::kInt8}) {
    if (name == name_of(precision)) return precision;
  }
  fail("precision is " + name + ", not float32, int16 or int8");
}

KernelWishes wishes_of(const std::map<std::string, std::string>& kernels) {
  KernelWishes wishes;
  for (const auto& [layer, name] : kernels) {
    const std::optional<KernelKind> kind = kernel_kind(name);
    if (!kind) fail("kernel " + name + " for " + layer + ": expected sparse, dense, 4-bit or depthwise");
    wishes.emplace(layer, *kind);
  }
  return wishes;
}

std::shared_ptr<Network> load_network(const py::object& data, int threads, const std::string& precision_name,
                                      const std::map<std::string, std::string>& kernels) {
  const Precision precision = precision_of(precision_name);
  const KernelWishes wishes = wishes_of(kernels);
  const ByteView view(data);
  const py::gil_scoped_release release;
  Threads pool(threads, 8 * static_cast<uint64_t>(view.bytes().size()));  // a code takes a bit or so
  return std::make_shared<Network>(view.bytes(), pool.parallel(), precision, wishes);
}

py::list kernel_choices(const Network& network) {
  py::list result;
  const auto& nodes = network.graph().nodes;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].op != Op::kConv && nodes[i].op != Op::kLinear) continue;
    const KernelChoice& choice = network.weights(i).choice;
    py::dict options;
    for (const KernelOption& option : choice.options) options[name_of(option.kind)] = 1e-9 * option.nanoseconds;
    py::dict entry;
    entry["name"] = nodes[i].name;
    entry["rows"] = choice.facts.rows;
    entry["depth"] = choice.facts.depth;
    entry["nonzeros"] = choice.facts.nonzeros;
    entry["largest_code"] = choice.facts.largest_code;
    entry["precision"] = name_of(choice.facts.precision);
    entry["tile"] = tile_of(choice.facts);
    entry["kernel"] = name_of(choice.kind);
    entry["wanted"] = choice.is_wanted;
    entry["seconds_per_pixel"] = options;
    result.append(entry);
  }
  return result;
}

double peak_products(const std::string& precision_name) {
  const Precision precision = precision_of(precision_name);
  const py::gil_scoped_release release;
  return peak_products_per_second(precision, choose_kernels());
}

uint32_t checksum(const py::object& data) {
  const ByteView view(data);
  const py::gil_scoped_release release;
  return crc32c(view.bytes());
}

std::vector<std::string> value_names(const Network& network) {
  std::vector<std::string> names;
  for (const Value& value : network.graph().values) names.push_back(value.name);
  return names;
}

std::vector<std::string> supported_isas() {
  const KernelList list = supported_kernels();
  std::vector<std::string> names;
  for (int i = 0; i < list.count; ++i) names.push_back(list.sets[i]->name);
  return names;
}

void translate_error(std::exception_ptr exception) {
  try {
    if (exception) std::rethrow_exception(exception);
  } catch (const Error& error) {
    const auto raise = [&](const char* name) {
      py::set_error(py::module_::import("opq.errors").attr(name), error.what());
    };
    switch (error.code()) {
      case ErrorCode::kFormat:
        return raise("FormatError");
      case ErrorCode::kUnsupported:
        return raise("UnsupportedError");
      case ErrorCode::kInput:
        return py::set_error(PyExc_ValueError, error.what());
    }
  } catch (const std::length_error& error) {  // a vector longer than memory can be
    py::set_error(PyExc_MemoryError, error.what());
  }
}

}  // namespace
}  // namespace opq

// Networks and matrices are immutable and sessions lock: nothing relies on the interpreter's lock.
PYBIND11_MODULE(_core, module, py::mod_gil_not_used()) {
  using namespace opq;
  module.attr("__version__") = OPQ_VERSION;
  py::register_local_exception_translator(translate_error);

  py::class_<Network, std::shared_ptr<Network>>(module, "Network")
      .def(py::init(&load_network), py::arg("data"), py::arg("threads") = 1, py::arg("precision") = "float32",
           py::arg("kernels") = std::map<std::string, std::string>())
      .def_property_readonly("inputs", [](const Network& network) { return ports(network, network.graph().inputs); })
      .def_property_readonly("outputs", [](const Network& network) { return ports(network, network.graph().outputs); })
      .def_property_readonly("value_names", &value_names)
      .def_property_readonly("kernel_choices", &kernel_choices)
      .def_property_readonly("packed_bytes", &Network::packed_bytes)
      .def_property_readonly("has_graph", &Network::has_graph);

  py::class_<Session>(module, "Session")
      .def(py::init([](std::shared_ptr<Network> network, int threads, bool keep_all) {
             return std::make_unique<Session>(std::move(network), threads, keep_all);
           }),
           py::arg("network").none(false), py::arg("threads"), py::arg("keep_all") = false)
      .def("run", &run, py::arg("inputs"), py::arg("outputs"))
      .def("profile", &profile)
      .def_property_readonly("threads", &Session::threads)
      .def_property_readonly("isa", &Session::isa)
      .def_property_readonly("arena_bytes", [](const Session& session) {
        const py::gil_scoped_release release;
        return session.arena_bytes();
      });

  py::class_<Matrix>(module, "Matrix")
      .def(py::init(&make_matrix), py::arg("codes"), py::arg("scale"), py::arg("single_column"))
      .def("matmul", &matmul, py::arg("x"), py::arg("threads"))
      .def_property_readonly("packed_bytes", &Matrix::packed_bytes);

  module.def("encode_codes", &encode, py::arg("codes"), py::arg("levels"), py::arg("codec"), py::arg("threads") = 1);
  module.def("estimate_codes", &estimate, py::arg("codes"), py::arg("threads"));
  module.def("decode_codes", &decode, py::arg("data"), py::arg("count"), py::arg("levels"), py::arg("codec"),
             py::arg("threads") = 1);
  module.def("encode_integers", &encode_integers, py::arg("values"), py::arg("threads"));
  module.def("decode_integers", &decode_integers, py::arg("data"), py::arg("count"), py::arg("dtype"),
             py::arg("threads"));
  module.def("peak_products", &peak_products, py::arg("precision"));
  module.def("round_trip_seconds", [] {
    const py::gil_scoped_release release;
    return round_trip_seconds();
  });
  module.def("crc32c", &checksum, py::arg("data"));
  module.def("supported_isas", &supported_isas);
  module.def("instruction_set", [] { return choose_kernels().name; });
  bindings::add_passes(module);
}
