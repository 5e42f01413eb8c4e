// Between float32 and activations that are held as integers, value = scale * (q - zero); and from sums to float32.
#pragma once

#include <cstddef>
#include <cstdint>

namespace opq {

// x[0..8) for whole vectors, and the first n for the last one: body(vector, i, n).
template <class V, class Load, class Body>
inline void for_vectors(std::size_t n, Load load, Body body) {
  std::size_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) body(load(i, V::kLanes), i, V::kLanes);
  if (i < n) body(load(i, static_cast<int>(n - i)), i, static_cast<int>(n - i));
}

template <class V>
void range(const float* x, std::size_t n, float* lo, float* hi) {
  V least = V::zero(), most = V::zero();
  for_vectors<V>(
      n, [=](std::size_t i, int count) { return count == V::kLanes ? V::load(x + i) : V::load_n(x + i, count); },
      [&](V v, std::size_t, int) {
        v = select(equal(v * V::zero(), V::zero()), v, V::zero());  // an infinity or NaN times 0 is NaN
        least = min(v, least);
        most = max(v, most);
      });
  float lanes[2][V::kLanes];
  least.store(lanes[0]);
  most.store(lanes[1]);
  *lo = *hi = 0.0f;
  for (int i = 0; i < V::kLanes; ++i) {
    *lo = lanes[0][i] < *lo ? lanes[0][i] : *lo;
    *hi = lanes[1][i] > *hi ? lanes[1][i] : *hi;
  }
}

// The nearest integer, ties to even, of v * inverse, between `least` and `most`, two integers; 0 for NaN.
template <class V>
inline V nearest_between(V v, V inverse, V least, V most) {
  v = v * inverse;
  v = select(is_nan(v), V::zero(), v);
  return nearest(min(max(v, least), most));
}

template <class V>
void quantize_bytes(const float* x, float inverse, int zero, uint8_t* q, std::size_t n) {
  const V scale = V::set(inverse), offset = V::set(static_cast<float>(zero));
  const V least = V::zero() - offset, most = V::set(255.0f) - offset;
  for_vectors<V>(
      n, [=](std::size_t i, int count) { return count == V::kLanes ? V::load(x + i) : V::load_n(x + i, count); },
      [=](V v, std::size_t i, int count) {
        v = nearest_between(v, scale, least, most) + offset;
        if (count == V::kLanes) return v.store_u8(q + i);
        uint8_t whole[V::kLanes];
        v.store_u8(whole);
        for (int j = 0; j < count; ++j) q[i + j] = whole[j];
      });
}

template <class V>
void quantize_words(const float* x, float inverse, int16_t* q, std::size_t n) {
  const V scale = V::set(inverse), least = V::set(-32767.0f), most = V::set(32767.0f);
  for_vectors<V>(
      n, [=](std::size_t i, int count) { return count == V::kLanes ? V::load(x + i) : V::load_n(x + i, count); },
      [=](V v, std::size_t i, int count) {
        v = nearest_between(v, scale, least, most);
        if (count == V::kLanes) return v.store_i16(q + i);
        int16_t whole[V::kLanes];
        v.store_i16(whole);
        for (int j = 0; j < count; ++j) q[i + j] = whole[j];
      });
}

template <class V>
void dequantize_bytes(const uint8_t* q, int zero, float scale, float* x, std::size_t n) {
  const V offset = V::set(static_cast<float>(zero)), step = V::set(scale);
  std::size_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) ((V::load_u8(q + i) - offset) * step).store(x + i);
  for (; i < n; ++i) x[i] = static_cast<float>(q[i] - zero) * scale;
}

template <class V>
void dequantize_words(const int16_t* q, float scale, float* x, std::size_t n) {
  const V step = V::set(scale);
  std::size_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) (V::load_i16(q + i) * step).store(x + i);
  for (; i < n; ++i) x[i] = static_cast<float>(q[i]) * scale;
}

// Plain loops, which the compiler makes vectors of, of the file's instruction set.

template <class V>
void sums_to_floats(const int32_t* sums, int32_t shift, float* y, int n) {
  for (int p = 0; p < n; ++p) y[p] = static_cast<float>(sums[p] - shift);
}

template <class V>
void doubles_to_floats(const double* sums, float* y, int n) {
  for (int p = 0; p < n; ++p) y[p] = static_cast<float>(sums[p]);
}

template <class V>
void clamp_bytes(const uint8_t* x, uint8_t least, uint8_t most, uint8_t* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const uint8_t v = x[i] < least ? least : x[i];
    y[i] = v > most ? most : v;
  }
}

template <class V>
void clamp_words(const int16_t* x, int16_t least, int16_t most, int16_t* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const int16_t v = x[i] < least ? least : x[i];
    y[i] = v > most ? most : v;
  }
}

}  // namespace opq
