// What the binding files share: NumPy arrays as arguments.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "format/error.h"

namespace opq::bindings {

[[noreturn]] inline void fail(const std::string& message) { throw Error(ErrorCode::kInput, message); }

inline bool in_c_order(const pybind11::array& array) {
  using Api = pybind11::detail::npy_api;
  constexpr int kFlags = Api::NPY_ARRAY_C_CONTIGUOUS_ | Api::NPY_ARRAY_ALIGNED_;
  return (array.flags() & kFlags) == kFlags;
}

// The data of an argument that must be an array of T in C order with `rank` dimensions.
template <typename T>
const T* checked_data(const pybind11::array& array, int rank, const char* what) {
  const pybind11::dtype expected = pybind11::dtype::of<T>();
  if (!array.dtype().equal(expected) || array.ndim() != rank || !in_c_order(array)) {
    fail(std::string(what) + " is not a " + std::to_string(rank) + "-dimensional " +
         std::string(pybind11::str(static_cast<pybind11::object>(expected))) + " array in C order");
  }
  return static_cast<const T*>(array.data());
}

inline int checked_levels(int levels) {
  if (levels < 1 || levels > 127) fail("levels is " + std::to_string(levels) + ", not 1 to 127");
  return levels;
}

}  // namespace opq::bindings
