// Sixteen lanes in two 256-bit registers. With AVX-VNNI products are as in avx512.h; without it, a signed product of
// bytes is |code| times the activation with the code's sign, whose pair sums stay below 2^15 as no byte is -128.
#pragma once
#include <immintrin.h>
#include <stdint.h>

namespace {

constexpr int PANEL_BLOCKS = 1, PANEL_ROWS = 4, DIRECT_BLOCKS = 1, MANY_ABREAST = 1;

struct Floats { __m256 a, b; };
struct Ints { __m256i a, b; };
struct Codes { __m256i a, b; };
struct Table { __m256i v; };

inline Floats zeros() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline Floats all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Floats load(const float *p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float *p, Floats x) { _mm256_storeu_ps(p, x.a), _mm256_storeu_ps(p + 8, x.b); }
inline Floats load_half(const uint16_t *p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)), _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8)))};
}
inline void store_half(uint16_t *p, Floats x) {
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(x.a, 0));
    _mm_storeu_si128((__m128i *)(p + 8), _mm256_cvtps_ph(x.b, 0));
}
inline __m256 load_bfloat16(__m128i words) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
}
inline Floats load_bfloat16(const uint16_t *p) {
    return {load_bfloat16(_mm_loadu_si128((const __m128i *)p)), load_bfloat16(_mm_loadu_si128((const __m128i *)(p + 8)))};
}
inline __m256i to_bfloat16(__m256 x) {  // in the low halves, rounded to nearest even
    const __m256i bits = _mm256_castps_si256(x), odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc00000), is_nan), 16);
}
inline void store_bfloat16(uint16_t *p, Floats x) {
    const __m256i words = _mm256_packus_epi32(to_bfloat16(x.a), to_bfloat16(x.b));
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(words, 0xd8));
}
inline Floats load_int8(const int8_t *p) {
    const __m128i bytes = _mm_loadu_si128((const __m128i *)p);
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
}
inline void store_int8(int8_t *p, Floats x) {
    const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
    _mm_storeu_si128((__m128i *)p, _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)));
}
inline Floats add(Floats x, Floats y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline Floats sub(Floats x, Floats y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline Floats mul(Floats x, Floats y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline Floats div(Floats x, Floats y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline Floats max(Floats x, Floats y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline Floats min(Floats x, Floats y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline Floats abs(Floats x) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
inline Floats fma(Floats x, Floats y, Floats z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
inline Floats round(Floats x) { return {_mm256_round_ps(x.a, 8), _mm256_round_ps(x.b, 8)}; }
inline __m256 power_of_two(__m256 n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
inline Floats power_of_two(Floats n) { return {power_of_two(n.a), power_of_two(n.b)}; }
inline float sum(Floats x) {
    const __m256 eight = _mm256_add_ps(x.a, x.b);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
inline float max(Floats x) {
    const __m256 eight = _mm256_max_ps(x.a, x.b);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

#ifdef __AVXVNNI__
inline __m256i to_codes(__m256i bytes) { return _mm256_xor_si256(bytes, _mm256_set1_epi8((char)0x80)); }
inline Ints start(int32_t activation_sum) {
    const __m256i v = _mm256_set1_epi32(-128 * activation_sum);
    return {v, v};
}
inline __m256i dot(__m256i sums, __m256i codes, __m256i x) { return _mm256_dpbusd_avx_epi32(sums, codes, x); }
#else
inline __m256i to_codes(__m256i bytes) { return bytes; }
inline Ints start(int32_t) { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline __m256i dot(__m256i sums, __m256i codes, __m256i x) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#endif

inline Table load_table(const int8_t *p) {
    return {to_codes(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)p)))};
}
inline Codes load_codes(const uint8_t *p) {
    return {to_codes(_mm256_loadu_si256((const __m256i *)p)), to_codes(_mm256_loadu_si256((const __m256i *)(p + 32)))};
}
inline void load_codes(const uint8_t *p, Table table, Codes &low, Codes &high) {
    const __m256i a = _mm256_loadu_si256((const __m256i *)p), b = _mm256_loadu_si256((const __m256i *)(p + 32));
    const __m256i mask = _mm256_set1_epi8(15);
    low = {_mm256_shuffle_epi8(table.v, _mm256_and_si256(a, mask)), _mm256_shuffle_epi8(table.v, _mm256_and_si256(b, mask))};
    high = {_mm256_shuffle_epi8(table.v, _mm256_and_si256(_mm256_srli_epi16(a, 4), mask)),
            _mm256_shuffle_epi8(table.v, _mm256_and_si256(_mm256_srli_epi16(b, 4), mask))};
}
inline Codes load_panel(const uint8_t *p) {
    return {_mm256_load_si256((const __m256i *)p), _mm256_load_si256((const __m256i *)(p + 32))};
}
inline void store_panel(uint8_t *p, Codes x) {
    _mm256_store_si256((__m256i *)p, x.a), _mm256_store_si256((__m256i *)(p + 32), x.b);
}
inline Ints dot(Ints sums, Codes codes, const int8_t *x) {
    const __m256i four = _mm256_set1_epi32(*(const int32_t *)x);
    return {dot(sums.a, codes.a, four), dot(sums.b, codes.b, four)};
}
inline Floats to_floats(Ints x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }

}  // namespace
