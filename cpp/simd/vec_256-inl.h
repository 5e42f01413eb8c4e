// What AVX2 and AVX-512VL share: arithmetic on F32, 8 float lanes in a 256-bit register `raw`. vec_scalar.h defines
// what each operation means.
//
// Included by vec_avx2.h and vec_avx512.h behind their F32, inside of opq's unnamed namespace.

inline F32 operator+(F32 a, F32 b) { return {_mm256_add_ps(a.raw, b.raw)}; }
inline F32 operator-(F32 a, F32 b) { return {_mm256_sub_ps(a.raw, b.raw)}; }
inline F32 operator*(F32 a, F32 b) { return {_mm256_mul_ps(a.raw, b.raw)}; }
inline F32 operator/(F32 a, F32 b) { return {_mm256_div_ps(a.raw, b.raw)}; }
inline F32 mul_add(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.raw, b.raw, c.raw)}; }
inline F32 sqrt(F32 a) { return {_mm256_sqrt_ps(a.raw)}; }
inline F32 min(F32 a, F32 b) { return {_mm256_min_ps(a.raw, b.raw)}; }
inline F32 max(F32 a, F32 b) { return {_mm256_max_ps(a.raw, b.raw)}; }
inline F32 abs(F32 a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.raw)}; }
inline F32 nearest(F32 a) { return {_mm256_round_ps(a.raw, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline F32 copy_sign(F32 magnitude, F32 sign) {
  const __m256 sign_bit = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_andnot_ps(sign_bit, magnitude.raw), _mm256_and_ps(sign_bit, sign.raw))};
}

inline F32 ordered_halves(__m256 halves) {  // a a b b | a a b b
  return {_mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(halves), 0xd8))};
}
inline F32 even_lanes(F32 a, F32 b) { return ordered_halves(_mm256_shuffle_ps(a.raw, b.raw, 0x88)); }
inline F32 odd_lanes(F32 a, F32 b) { return ordered_halves(_mm256_shuffle_ps(a.raw, b.raw, 0xdd)); }

struct Mask {
  __m256 raw;
};

inline Mask less(F32 a, F32 b) { return {_mm256_cmp_ps(a.raw, b.raw, _CMP_LT_OQ)}; }
inline Mask equal(F32 a, F32 b) { return {_mm256_cmp_ps(a.raw, b.raw, _CMP_EQ_OQ)}; }
inline Mask is_nan(F32 a) { return {_mm256_cmp_ps(a.raw, a.raw, _CMP_UNORD_Q)}; }
inline F32 select(Mask m, F32 yes, F32 no) { return {_mm256_blendv_ps(no.raw, yes.raw, m.raw)}; }

inline F32 pow2(F32 n) {
  const __m256 biased = _mm256_add_ps(n.raw, _mm256_set1_ps(8388735.0f));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(biased), 23))};
}
inline F32 exponent(F32 x) {
  const __m256i biased = _mm256_srli_epi32(_mm256_castps_si256(x.raw), 23);
  return {_mm256_cvtepi32_ps(_mm256_sub_epi32(biased, _mm256_set1_epi32(127)))};
}
inline F32 mantissa(F32 x) {
  const __m256i fraction = _mm256_and_si256(_mm256_castps_si256(x.raw), _mm256_set1_epi32(0x7fffff));
  return {_mm256_castsi256_ps(_mm256_or_si256(fraction, _mm256_set1_epi32(0x3f800000)))};
}

inline float sum_of_lanes(F32 a) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a.raw), _mm256_extractf128_ps(a.raw, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
