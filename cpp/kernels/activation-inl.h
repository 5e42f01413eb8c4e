// Activations as vector functions. The operand order of min and max lets NaN through.
#pragma once

#include "kernels/kernels.h"

namespace opq {

template <class V>
V clip(V v, V lo, V hi) {
  return min(hi, max(lo, v));
}

template <class V>
V leaky(V v, V slope) {
  return select(less(v, V::zero()), slope * v, v);
}

// Calls loop(f) with the activation as a function f(V) -> V, so that the choice is made once, outside of the loop.
template <class V, class Loop>
void with_activation(const Activation& act, Loop loop) {
  switch (act.kind) {
    case Activation::kNone:
      return loop([](V v) { return v; });
    case Activation::kClip: {
      const V lo = V::set(act.lo), hi = V::set(act.hi);
      return loop([=](V v) { return clip(v, lo, hi); });
    }
    case Activation::kLeaky: {
      const V slope = V::set(act.slope);
      return loop([=](V v) { return leaky(v, slope); });
    }
  }
}

}  // namespace opq
