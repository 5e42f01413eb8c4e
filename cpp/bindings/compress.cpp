#include "bindings/compress.h"

#include <cmath>
#include <memory>
#include <vector>

#include "bindings/arrays.h"
#include "compress/codes.h"
#include "compress/rate_aware.h"
#include "compress/row_sums.h"
#include "compress/statistics.h"
#include "runtime/float_environment.h"
#include "runtime/pool_cache.h"

namespace py = pybind11;

namespace opq::bindings {
namespace {

using compress::Magnitudes;

// What a pass runs in: the interpreter's lock released, the default floating-point environment, and threads if there is
// enough work to wake them for.
class Pass {
 public:
  Pass(int threads, int64_t elements) : pooled_(elements < kWorthThreads && threads > 1 ? 1 : threads) {}

  ThreadPool& pool() { return pooled_.pool(); }

 private:
  static constexpr int64_t kWorthThreads = 1 << 15;

  py::gil_scoped_release release_;
  DefaultFloatEnvironment environment_;
  PooledThreads pooled_;
};

Magnitudes magnitudes(const py::array& weights, const py::array& scale) {
  const float* data = checked_data<float>(weights, 2, "weights");
  const Magnitudes m{data, weights.shape(0), weights.shape(1), checked_data<float>(scale, 1, "scale"), scale.shape(0)};
  if (m.size() == 0) fail("there are no weights");
  if (m.channels == 0 || m.rows % m.channels != 0) {
    fail("scale has " + std::to_string(m.channels) + " numbers for " + std::to_string(m.rows) + " rows of weights");
  }
  return m;
}

float checked_step(double step) {
  const float value = static_cast<float>(step);
  if (!(value > 0.0f) || !std::isfinite(value)) fail("step is not a positive float32 number");
  return value;
}

int checked_group(int group, int64_t count) {
  if (group < 1 || group > compress::kLargestGroup || count % group != 0) {
    fail("group is " + std::to_string(group) + " for " + std::to_string(count) + " codes");
  }
  return group;
}

template <typename T>
const T* table(const py::array& array, int64_t size, const char* what) {
  const T* data = checked_data<T>(array, 1, what);
  if (array.shape(0) != size) fail(std::string(what) + " does not have " + std::to_string(size) + " numbers");
  return data;
}

template <typename T>
py::array_t<T> to_array(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

// An array that owns the vector: outliers may be as many as the weights.
py::array_t<float> to_array(std::vector<float>&& values) {
  auto owned = std::make_unique<std::vector<float>>(std::move(values));
  const py::ssize_t size = static_cast<py::ssize_t>(owned->size());
  const float* data = owned->data();
  const py::capsule owner(owned.get(), [](void* vector) { delete static_cast<std::vector<float>*>(vector); });
  owned.release();
  return py::array_t<float>(size, data, owner);
}

py::array_t<int8_t> codes_like(const py::array& weights) {
  return py::array_t<int8_t>({weights.shape(0), weights.shape(1)});
}

bool all_finite(const py::array& values, int threads) {
  const float* data = checked_data<float>(values, 1, "values");
  const int64_t count = values.size();
  Pass pass(threads, count);
  return compress::all_finite(pass.pool(), data, count);
}

py::tuple channel_energies(const py::array& weights, int threads) {
  const float* data = checked_data<float>(weights, 2, "weights");
  const int64_t rows = weights.shape(0), length = weights.shape(1);
  if (weights.size() == 0) fail("there are no weights");
  py::array_t<double> energy(rows);
  double* result = energy.mutable_data();
  bool uniform;
  {
    Pass pass(threads, rows * length);
    uniform = compress::channel_energies(pass.pool(), data, rows, length, result);
  }
  return py::make_tuple(energy, uniform);
}

py::tuple moments(const py::array& weights, const py::array& scale, int threads) {
  const Magnitudes m = magnitudes(weights, scale);
  compress::Moments result;
  {
    Pass pass(threads, m.size());
    result = compress::moments(pass.pool(), m);
  }
  return py::make_tuple(result.nonzeros, result.minimum, result.maximum, result.total, result.energy);
}

py::tuple histogram(const py::array& weights, const py::array& scale, double bin_width, int bins, int threads) {
  const Magnitudes m = magnitudes(weights, scale);
  if (!(bin_width > 0.0)) fail("bin_width is not positive");
  if (bins < 1 || bins > 1 << 16) fail("bins is " + std::to_string(bins) + ", not 1 to 65536");
  compress::Histogram result;
  {
    Pass pass(threads, m.size());
    result = compress::histogram(pass.pool(), m, bin_width, bins);
  }
  return py::make_tuple(to_array(result.counts), to_array(std::move(result.outliers)));
}

py::array nearest_codes(const py::array& weights, const py::array& scale, double threshold, double step, int levels,
                        int threads) {
  const Magnitudes m = magnitudes(weights, scale);
  const float checked = checked_step(step);
  checked_levels(levels);
  py::array_t<int8_t> codes = codes_like(weights);
  int8_t* result = codes.mutable_data();
  {
    Pass pass(threads, m.size());
    compress::nearest_codes(pass.pool(), m, threshold, checked, levels, result);
  }
  return codes;
}

py::tuple squared_error(const py::array& weights, const py::array& scale, const py::array& codes, double step,
                        int threads) {
  const Magnitudes m = magnitudes(weights, scale);
  const int8_t* data = checked_data<int8_t>(codes, 2, "codes");
  if (codes.shape(0) != m.rows || codes.shape(1) != m.length) fail("codes and weights have different shapes");
  const float checked = checked_step(step);
  compress::SquaredError result;
  {
    Pass pass(threads, m.size());
    result = compress::squared_error(pass.pool(), m, data, checked);
  }
  return py::make_tuple(result.error, result.energy);
}

py::tuple count_codes(const py::array& codes, int group, int levels, int threads) {
  const int8_t* data = checked_data<int8_t>(codes, 1, "codes");
  const int64_t count = codes.size();
  checked_group(group, count);
  checked_levels(levels);
  compress::CodeCounts result;
  {
    Pass pass(threads, count);
    result = compress::count_codes(pass.pool(), data, count, group, levels);
  }
  return py::make_tuple(to_array(result.groups), to_array(result.magnitudes));
}

py::array rate_aware_codes(const py::array& weights, const py::array& scale, double step, const py::array& count_price,
                           const py::array& level_price, const py::array& rises, int threads) {
  const Magnitudes m = magnitudes(weights, scale);
  const float checked = checked_step(step);
  const int group = checked_group(static_cast<int>(std::min<int64_t>(count_price.size(), 1 << 10)) - 1, m.size());
  const int levels = checked_levels(static_cast<int>(std::min<int64_t>(level_price.size(), 1 << 10)) - 1);
  const compress::Prices prices{group, levels, table<double>(count_price, group + 1, "count_price"),
                                table<double>(level_price, levels + 1, "level_price"),
                                table<float>(rises, levels + 1, "rises")};
  if (!std::isnan(prices.rises[levels])) fail("rises does not end in a NaN");
  py::array_t<int8_t> codes = codes_like(weights);
  int8_t* result = codes.mutable_data();
  {
    Pass pass(threads, m.size());
    compress::rate_aware_codes(pass.pool(), m, checked, prices, result);
  }
  return codes;
}

py::tuple row_sums(const py::array& values, const py::array& steps, const py::array& x, int threads) {
  const int64_t rows = values.ndim() == 2 ? values.shape(0) : 0, length = rows > 0 ? values.shape(1) : 0;
  const double* other = checked_data<double>(x, 2, "x");
  const float* step = table<float>(steps, rows, "steps");
  if (x.shape(1) != length || (x.shape(0) != 1 && x.shape(0) != rows)) fail("x does not have the shape of values");
  if (length == 0) fail("there are no values");
  const bool one_x = x.shape(0) == 1;
  py::array_t<double> energy(rows), mean(rows);
  double *energies = energy.mutable_data(), *means = mean.mutable_data();
  const auto sum = [&](const auto* data) {
    Pass pass(threads, rows * length);
    compress::row_sums(pass.pool(), data, step, other, one_x, rows, length, energies, means);
  };
  if (values.dtype().equal(py::dtype::of<int8_t>())) {
    sum(checked_data<int8_t>(values, 2, "values"));
  } else {
    sum(checked_data<float>(values, 2, "values"));
  }
  return py::make_tuple(energy, mean);
}

}  // namespace

void add_passes(py::module_& module) {
  const auto weights = py::arg("weights"), scale = py::arg("scale"), threads = py::arg("threads");
  module.def("all_finite", &all_finite, py::arg("values"), threads);
  module.def("channel_energies", &channel_energies, weights, threads);
  module.def("moments", &moments, weights, scale, threads);
  module.def("histogram", &histogram, weights, scale, py::arg("bin_width"), py::arg("bins"), threads);
  module.def("nearest_codes", &nearest_codes, weights, scale, py::arg("threshold"), py::arg("step"), py::arg("levels"),
             threads);
  module.def("squared_error", &squared_error, weights, scale, py::arg("codes"), py::arg("step"), threads);
  module.def("count_codes", &count_codes, py::arg("codes"), py::arg("group"), py::arg("levels"), threads);
  module.def("rate_aware_codes", &rate_aware_codes, weights, scale, py::arg("step"), py::arg("count_price"),
             py::arg("level_price"), py::arg("rises"), threads);
  module.def("row_sums", &row_sums, py::arg("values"), py::arg("steps"), py::arg("x"), threads);
}

}  // namespace opq::bindings
