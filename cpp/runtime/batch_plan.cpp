#include "runtime/batch_plan.h"

#include <algorithm>

#include "runtime/fusion.h"
#include "runtime/images_apart.h"
#include "runtime/shapes.h"

namespace opq {
namespace {

// The shapes of one image's inputs, or none where the inputs are not as many images of the same number.
std::vector<Shape> shapes_of_one(std::vector<Shape> inputs) {
  const bool is_batch = std::all_of(inputs.begin(), inputs.end(), [&](const Shape& shape) {
    return !shape.empty() && !inputs[0].empty() && shape[0] == inputs[0][0] && shape[0] > 1;
  });
  if (!is_batch) return {};
  for (Shape& shape : inputs) shape[0] = 1;
  return inputs;
}

bool is_same_chain(const FusedNode& a, const FusedNode& b) {
  return a.nodes == b.nodes && a.output == b.output && a.residual == b.residual;
}

double bytes_of(const Network& network, const std::vector<Shape>& shapes, int value) {
  return static_cast<double>(element_count(shapes[value])) * element_size(network.precision());
}

constexpr double kCacheBytes = 1 << 18;  // activations of all images that stay in the cache from step to step
constexpr double kStepBytes = 1 << 12;   // as long as they take to come, a step for one image takes to start

// The first step that is cheaper for all images together, by the bytes that come from beyond the cache: the steps
// before read their weights once per image, those from there on once, but read and write activations of all images.
std::size_t cheapest_split(const Network& network, const std::vector<FusedNode>& chains, const std::vector<Shape>& one,
                           int64_t images) {
  const auto count = static_cast<double>(images);
  double apart = 0, together = 0, least = 0;  // bytes more than if all steps were run together
  std::size_t split = 0;
  for (std::size_t s = 0; s < chains.size(); ++s) {
    const FusedNode& fused = chains[s];
    const auto weights = static_cast<double>(network.weights_bytes(fused.node));
    double activations = bytes_of(network, one, fused.output);
    for (const int value : operands(network.graph(), fused)) activations += bytes_of(network, one, value);
    apart += count * (weights + kStepBytes);
    together += weights + (count * activations > kCacheBytes ? count * activations : 0);
    if (apart - together < least) {
      least = apart - together;
      split = s + 1;
    }
  }
  return split;
}

std::size_t find_split(const Network& network, const std::vector<Shape>& inputs, const std::vector<Shape>& one,
                       int threads) {
  if (one.empty() || inputs[0][0] < threads) return 0;
  const Graph& graph = network.graph();
  const std::vector<Shape> shapes = infer_shapes(graph, network.tensors(), inputs);
  std::vector<Shape> shapes_one;
  try {
    shapes_one = infer_shapes(graph, network.tensors(), one);
  } catch (const Error&) {  // the network is made for so many images and no other number
    return 0;
  }
  if (!are_images_apart(graph, shapes_one, shapes)) return 0;
  // With integers, what is rounded depends on what is fused, and that on shapes.
  const std::vector<FusedNode> chains = fuse_nodes(network, shapes, true);
  const std::vector<FusedNode> chains_one = fuse_nodes(network, shapes_one, true);
  if (!std::equal(chains.begin(), chains.end(), chains_one.begin(), chains_one.end(), is_same_chain)) return 0;
  return cheapest_split(network, chains, shapes_one, inputs[0][0]);
}

}  // namespace

BatchPlan::BatchPlan(const Network& network, const std::vector<Shape>& inputs, bool keep_all, int threads)
    : BatchPlan(network, keep_all ? 0 : find_split(network, inputs, shapes_of_one(inputs), threads),
                shapes_of_one(inputs), inputs, keep_all) {}

BatchPlan::BatchPlan(const Network& network, std::size_t split, const std::vector<Shape>& one,
                     const std::vector<Shape>& all, bool keep_all)
    : split(split), all(network, all, keep_all, split) {
  if (split > 0) image.emplace(network, one, keep_all, 0, split);
}

}  // namespace opq
