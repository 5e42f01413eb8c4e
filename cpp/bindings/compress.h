#pragma once

#include <pybind11/pybind11.h>

namespace opq::bindings {

// The passes over the weights of a layer (cpp/compress).
void add_passes(pybind11::module_& module);

}  // namespace opq::bindings
