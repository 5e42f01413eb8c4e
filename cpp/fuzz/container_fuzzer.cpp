// Sections, tensor directory, graph and ranges of a file: everything that is read before memory is taken for the
// weights.
#include <cstddef>
#include <cstdint>

#include "format/container.h"
#include "format/tensors.h"
#include "fuzz/file_mutator.h"
#include "runtime/graph.h"
#include "runtime/ranges.h"

extern "C" std::size_t LLVMFuzzerCustomMutator(uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
  return opq::mutate_file(data, size, max_size, seed);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  try {
    const opq::Container container = opq::parse_container({data, size});
    const std::vector<opq::Tensor> tensors = opq::parse_tensors(container.tensors, container.data);
    if (!container.has_graph) return 0;
    const opq::Graph graph = opq::parse_graph(container.graph, tensors);
    if (container.has_ranges) opq::parse_ranges(container.ranges, graph);
  } catch (const opq::Error&) {
  }
  return 0;
}
