// Exponential, hyperbolic tangent, sigmoid and power: polynomials with explicit fused multiply-adds, so that every
// machine gives the same bits. Errors are in units in the last place (ulp) against double precision. Coefficients:
// Cephes (S. Moshier), expf, tanhf and logf.
#pragma once

namespace opq {

// The nearest integer, ties to even, for |x| < 2^22: 1.5 * 2^23 pushes the fraction out of the significand.
template <class V>
V round_nearest(V x) {
  const V shift = V::set(12582912.0f);
  return (x + shift) - shift;
}

// x * 2^n for an integer n in [-252, 254], rounded once.
template <class V>
V scale_by_pow2(V x, V n) {
  const V half = round_nearest(n * V::set(0.5f));
  return (x * pow2(half)) * pow2(n - half);
}

// Error at most 1.01 ulp (every fifth float).
// e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2, and e^r = 1 + r + r^2 P(r). ln 2 is the sum of two floats,
// the first with few digits. Inputs are clipped to where the result is 0 or infinite anyway.
template <class V>
V exp(V x) {
  x = min(V::set(89.0f), max(V::set(-104.0f), x));
  const V n = round_nearest(x * V::set(1.44269504089f));
  V r = mul_add(n, V::set(-0.693359375f), x);
  r = mul_add(n, V::set(2.12194440e-4f), r);
  V p = V::set(1.9875691500e-4f);
  p = mul_add(p, r, V::set(1.3981999507e-3f));
  p = mul_add(p, r, V::set(8.3334519073e-3f));
  p = mul_add(p, r, V::set(4.1665795894e-2f));
  p = mul_add(p, r, V::set(1.6666665459e-1f));
  p = mul_add(p, r, V::set(5.0000001201e-1f));
  p = mul_add(p, r * r, r) + V::set(1.0f);
  return scale_by_pow2(p, n);
}

// Error at most 2.4 ulp (every 61st float).
// 1 / (1 + e^-x), from e^-|x| so that nothing overflows.
template <class V>
V sigmoid(V x) {
  const V one = V::set(1.0f);
  const V e = exp(V::zero() - abs(x));
  return select(less(x, V::zero()), e, one) / (one + e);
}

// Error at most 1.3 ulp (every 61st float).
// x + x^3 P(x^2) for |x| < 0.625, else 1 - 2 / (e^2|x| + 1) with the sign of x.
template <class V>
V tanh(V x) {
  const V one = V::set(1.0f), two = V::set(2.0f);
  const V a = abs(x), z = x * x;
  V p = V::set(-5.70498872745e-3f);
  p = mul_add(p, z, V::set(2.06390887954e-2f));
  p = mul_add(p, z, V::set(-5.37397155531e-2f));
  p = mul_add(p, z, V::set(1.33314422036e-1f));
  p = mul_add(p, z, V::set(-3.33332819422e-1f));
  const V small = mul_add(p * z, a, a);
  const V large = one - two / (exp(a + a) + one);
  return copy_sign(select(less(a, V::set(0.625f)), small, large), x);
}

// ln x for x in [1, 2): with m = x or x / 2 in [0.75, 1.5) and f = m - 1,  ln m = f - f^2 / 2 + f^3 P(f).
// halved is 1 where m = x / 2, else 0.
template <class V>
V log_of_mantissa(V x, V& halved) {
  const V one = V::set(1.0f);
  const auto low = less(x, V::set(1.41421356f));
  halved = select(low, V::zero(), one);
  const V f = select(low, x, x * V::set(0.5f)) - one;
  V p = V::set(7.0376836292e-2f);
  p = mul_add(p, f, V::set(-1.1514610310e-1f));
  p = mul_add(p, f, V::set(1.1676998740e-1f));
  p = mul_add(p, f, V::set(-1.2420140846e-1f));
  p = mul_add(p, f, V::set(1.4249322787e-1f));
  p = mul_add(p, f, V::set(-1.6668057665e-1f));
  p = mul_add(p, f, V::set(2.0000714765e-1f));
  p = mul_add(p, f, V::set(-2.4999993993e-1f));
  p = mul_add(p, f, V::set(3.3333331174e-1f));
  const V f2 = f * f;
  return mul_add(p * f, f2, mul_add(V::set(-0.5f), f2, f));
}

// 1 / pow: error at most 2.2 ulp for exponents from -0.3 to 2, 4.7 ulp for 5 (13 million bases).
// base^exponent = 2^(exponent * e) * e^(exponent * ln m) with base = m 2^e. The integer part of exponent * e is taken
// off exactly before anything is rounded. Negative bases give NaN; 0, infinity and NaN behave as in C.
template <class V>
V pow(V base, float exponent_value) {
  const V zero = V::zero(), one = V::set(1.0f), infinity = V::set(__builtin_inff()), power = V::set(exponent_value);
  const auto subnormal = less(base, V::set(0x1p-126f));
  const V normal = select(subnormal, base * V::set(0x1p24f), base);
  V halved;
  const V log_m = log_of_mantissa(mantissa(normal), halved);
  const V e = exponent(normal) + halved - select(subnormal, V::set(24.0f), zero);

  const V t = min(V::set(252.0f), max(V::set(-252.0f), power * e));
  const V t_error = mul_add(power, e, zero - power * e);
  const V n = round_nearest(t);
  const V rest = (t - n) + t_error;
  V result = scale_by_pow2(exp(mul_add(rest, V::set(0.693147181f), power * log_m)), n);

  const V at_zero = exponent_value > 0 ? zero : exponent_value < 0 ? infinity : one;
  const V at_infinity = exponent_value > 0 ? infinity : exponent_value < 0 ? zero : one;
  result = select(equal(base, zero), at_zero, result);
  result = select(equal(base, infinity), at_infinity, result);
  result = select(less(base, zero), V::set(__builtin_nanf("")), result);
  return select(is_nan(base), base, result);
}

}  // namespace opq
