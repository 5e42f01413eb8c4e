// Conv and Linear on activations that are held as integers. An input that is float32 is put on a grid of its own, image
// by image.
#include <algorithm>
#include <cmath>

#include "runtime/integer_planes.h"
#include "runtime/layer_shape.h"
#include "runtime/parallel.h"
#include "runtime/scratch.h"
#include "runtime/shapes.h"

namespace opq {
namespace {

constexpr int64_t kPiece = 16384;  // elements per task

bool all_finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
}

// What an activation leaves of a grid; false if it is not a clamp.
bool clamp_of(const Activation& activation, const Grid& grid, int& least, int& most) {
  least = grid.least;
  most = grid.most;
  if (activation.kind == Activation::kNone) return true;
  if (activation.kind != Activation::kClip) return false;
  least = grid.quantize(activation.lo);
  most = grid.quantize(activation.hi);
  return true;
}

template <typename T>
class IntegerLayerStep final : public Step {
 public:
  IntegerLayerStep(const StepSource& source, const ConvShape& shape)
      : weights_(source.network.weights(source.fused.node)),
        shape_(shape),
        x_(source.node().input(0)),
        y_(source.fused.output),
        residual_(source.fused.residual),
        activation_(source.fused.activation),
        precision_(source.precision()),
        x_grid_(source.input_grid()),
        y_grid_(source.output_grid()),
        residual_grid_(residual_ == kAbsent ? std::nullopt : source.held[residual_]) {
    const Shape& x = source.input_shape(0);
    images_ = x.size() > 1 ? x[0] : 1;
    elements_ = element_count(x) / images_;
    const bool residual_fits = residual_ == kAbsent || residual_grid_.has_value();
    const bool is_fixed = precision_ == Precision::kInt8 && x_grid_ && y_grid_ && residual_fits &&
                          clamp_of(activation_, *y_grid_, least_, most_) && all_finite(weights_.scale) &&
                          all_finite(weights_.bias);
    if (is_fixed) {
      rules_ = requantization(weights_.integer->code_sums(), weights_.scale, weights_.bias, *x_grid_, *y_grid_,
                              residual_grid_ ? &*residual_grid_ : nullptr);
    }
  }

  std::size_t scratch_floats(int threads) const override {
    ScratchSize size;
    size.add<Grid>(static_cast<std::size_t>(shape_.n));
    if (!x_grid_) {
      size.add<T>(static_cast<std::size_t>(images_ * elements_ + kIntegerSlack));
      size.add<float>(static_cast<std::size_t>(2 * pieces() * images_));
    }
    size.add<std::byte>(weights_.integer->scratch_bytes(shape_, threads));
    return size.bytes() / sizeof(float) + 1;
  }

  void run(const Execution& execution) const override {
    Scratch memory(reinterpret_cast<std::byte*>(execution.scratch));
    Grid* grids = memory.take<Grid>(static_cast<std::size_t>(shape_.n));
    const auto* x = execution.input<std::byte>(x_);
    if (x_grid_) {
      std::fill_n(grids, shape_.n, *x_grid_);
    } else {
      T* q = memory.take<T>(static_cast<std::size_t>(images_ * elements_ + kIntegerSlack));
      float* ends = memory.take<float>(static_cast<std::size_t>(2 * pieces() * images_));
      quantize_images(execution, grids, ends, q);
      x = reinterpret_cast<const std::byte*>(q);
    }
    const IntegerEpilogue epilogue = {
        .rules = rules_.empty() ? nullptr : rules_.data(),
        .least = static_cast<uint8_t>(least_),
        .most = static_cast<uint8_t>(most_),
        .scale = weights_.scale.empty() ? nullptr : weights_.scale.data(),
        .bias = weights_.bias.empty() ? nullptr : weights_.bias.data(),
        .act = activation_,
        .residual = residual_ == kAbsent ? nullptr : execution.input<std::byte>(residual_),
        .residual_grid = residual_grid_ ? &*residual_grid_ : nullptr,
        .y = execution.output<std::byte>(y_),
        .y_grid = y_grid_ ? &*y_grid_ : nullptr};
    weights_.integer->run(shape_, x, grids, epilogue, memory.rest(), execution.pool, execution.kernels);
  }

  const char* kernel_name() const override { return weights_.integer->kernel_name(); }
  int64_t nonzeros() const override { return weights_.integer->nonzeros(); }

 private:
  int64_t pieces() const { return (elements_ + kPiece - 1) / kPiece; }

  // Every image on the grid of its own range; grids: one per row of the layer's input.
  void quantize_images(const Execution& execution, Grid* grids, float* ends, T* q) const {
    const float* x = execution.input<float>(x_);
    const auto for_pieces = [&](const auto& body) {
      parallel_ranges(execution.pool, images_ * pieces(), 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t first = i % pieces() * kPiece;
          body(i, i / pieces() * elements_ + first, static_cast<std::size_t>(std::min(kPiece, elements_ - first)));
        }
      });
    };
    for_pieces([&](int64_t i, int64_t at, std::size_t n) {
      execution.kernels.range(x + at, n, ends + 2 * i, ends + 2 * i + 1);
    });
    const int64_t rows = shape_.n / images_;
    for (int64_t image = 0; image < images_; ++image) {
      float lo = 0, hi = 0;
      for (int64_t i = image * pieces(); i < (image + 1) * pieces(); ++i) {
        lo = std::min(lo, ends[2 * i]);
        hi = std::max(hi, ends[2 * i + 1]);
      }
      std::fill_n(grids + image * rows, rows, grid_of_values(lo, hi, precision_));
    }
    for_pieces([&](int64_t i, int64_t at, std::size_t n) {
      quantize(x + at, grids[i / pieces() * rows], q + at, n, execution.kernels);
    });
  }

  const NodeWeights& weights_;
  const ConvShape shape_;
  const int x_, y_, residual_;
  const Activation activation_;
  const Precision precision_;
  const std::optional<Grid> x_grid_, y_grid_, residual_grid_;
  int64_t images_, elements_;  // of the input; per image
  int least_ = 0, most_ = 255;
  std::vector<ByteRule> rules_;  // by channel, where the finish is in fixed point
};

class EmptyStep final : public Step {
  void run(const Execution&) const override {}
};

}  // namespace

std::unique_ptr<Step> make_integer_layer_step(const StepSource& source) {
  if (element_count(source.output_shape()) == 0) return std::make_unique<EmptyStep>();
  const ConvShape shape = layer_shape(source);
  return with_held_type(source.precision(), [&](auto tag) -> std::unique_ptr<Step> {
    return std::make_unique<IntegerLayerStep<typename decltype(tag)::type>>(source, shape);
  });
}

}  // namespace opq
