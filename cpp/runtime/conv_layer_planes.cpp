#include "runtime/conv_layer_planes.h"

#include <algorithm>
#include <numeric>

#include "runtime/saturating_product.h"

namespace opq {

PhaseAxis::PhaseAxis(int64_t kernel, int64_t stride, int64_t dilation)
    : kernel_(kernel), stride_(stride), dilation_(dilation), period_(stride / std::gcd(stride, dilation)) {}

PhaseAxis::Inside PhaseAxis::inside(int64_t phase, int64_t pad, int64_t size, int64_t elements) const {
  const int64_t before = pad - phase * dilation_ % stride_;
  const int64_t begin = std::clamp<int64_t>((before + stride_ - 1) / stride_, 0, elements);
  const int64_t end = std::clamp<int64_t>((size + before + stride_ - 1) / stride_, begin, elements);
  return {begin, end - begin, begin * stride_ - before};
}

InputPlanes::InputPlanes(const ConvGeometry& geometry)
    : y_(geometry.kernel_h, geometry.stride_h, geometry.dilation_h),
      x_(geometry.kernel_w, geometry.stride_w, geometry.dilation_w) {}

int64_t InputPlanes::channel_floats(const ConvShape& shape) const {
  return saturating_product({y_.phases(), x_.phases(), y_.size(shape.out_h), x_.size(shape.out_w)});
}

int64_t InputPlanes::offset_of(const ConvShape& shape, int64_t ky, int64_t kx) const {
  const int64_t plane = y_.phase_of(ky) * x_.phases() + x_.phase_of(kx);
  const int64_t columns = x_.size(shape.out_w);
  return (plane * y_.size(shape.out_h) + y_.shift_of(ky)) * columns + x_.shift_of(kx);
}

const std::ptrdiff_t* InputPlanes::write_offsets(const ConvShape& shape, int64_t channels, int64_t channel_stride,
                                                 float*& scratch) const {
  const auto misaligned = reinterpret_cast<std::uintptr_t>(scratch) % alignof(std::ptrdiff_t);
  if (misaligned != 0) scratch += (alignof(std::ptrdiff_t) - misaligned) / sizeof(float);
  auto* offsets = reinterpret_cast<std::ptrdiff_t*>(scratch);
  for (int64_t ky = 0, tap = 0; ky < y_.taps(); ++ky) {
    for (int64_t kx = 0; kx < x_.taps(); ++kx, ++tap) offsets[tap] = offset_of(shape, ky, kx);
  }
  for (int64_t k = taps(); k < channels * taps(); ++k) offsets[k] = offsets[k - taps()] + channel_stride;
  scratch += channels * taps() * static_cast<int64_t>(sizeof(std::ptrdiff_t) / sizeof(float));
  return offsets;
}

void InputPlanes::fill(const ConvShape& shape, const float* x, float* planes, const Kernels& kernels) const {
  float* plane = planes;
  for_each_phase(shape, [&](const Phase& phase) {
    if (!phase.covered()) std::fill_n(plane, phase.rows * phase.columns, 0.0f);
    plane += phase.rows * phase.columns;
  });
  fill_inside(shape, x, planes, kernels);
}

void InputPlanes::fill_inside(const ConvShape& shape, const float* x, float* planes, const Kernels& kernels) const {
  for_each_phase(shape, [&](const Phase& phase) {
    if (phase.x.count > 0) {
      kernels.copy_rows(x + phase.y.first * shape.w + phase.x.first, shape.w * phase.stride_h, phase.stride_w,
                        planes + phase.y.begin * phase.columns + phase.x.begin, phase.columns, phase.y.count,
                        phase.x.count);
    }
    planes += phase.rows * phase.columns;
  });
}

}  // namespace opq
