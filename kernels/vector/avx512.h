// Sixteen lanes in one 512-bit register; int8 products by VNNI, which multiplies unsigned by signed bytes: codes are
// held with 128 added, and a sum starts at -128 times the sum of the activations.
#pragma once
#include <immintrin.h>
#include <stdint.h>

namespace {

constexpr int PANEL_BLOCKS = 2, PANEL_ROWS = 6, DIRECT_BLOCKS = 2, MANY_ABREAST = 2;  // 24 of 32 registers hold sums

struct Floats { __m512 v; };
struct Ints { __m512i v; };
struct Codes { __m512i v; };
struct Table { __m512i v; };

inline Floats zeros() { return {_mm512_setzero_ps()}; }
inline Floats all(float a) { return {_mm512_set1_ps(a)}; }
inline Floats load(const float *p) { return {_mm512_loadu_ps(p)}; }
inline void store(float *p, Floats a) { _mm512_storeu_ps(p, a.v); }
inline Floats load_half(const uint16_t *p) { return {_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p))}; }
inline void store_half(uint16_t *p, Floats a) { _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a.v, 0)); }
inline Floats load_bfloat16(const uint16_t *p) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16))};
}
inline void store_bfloat16(uint16_t *p, Floats a) {  // rounds to nearest even
    const __m512i bits = _mm512_castps_si512(a.v), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    rounded = _mm512_mask_set1_epi32(rounded, _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q), 0x7fc00000);
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}
inline Floats load_int8(const int8_t *p) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)))};
}
inline void store_int8(int8_t *p, Floats a) {  // rounds to nearest even
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
}
inline Floats add(Floats a, Floats b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Floats sub(Floats a, Floats b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Floats mul(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Floats div(Floats a, Floats b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Floats max(Floats a, Floats b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Floats min(Floats a, Floats b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Floats abs(Floats a) { return {_mm512_abs_ps(a.v)}; }
inline Floats fma(Floats a, Floats b, Floats c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Floats round(Floats a) { return {_mm512_roundscale_ps(a.v, 8)}; }
inline Floats power_of_two(Floats n) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127)), 23))};
}
inline float sum(Floats a) { return _mm512_reduce_add_ps(a.v); }
inline float max(Floats a) { return _mm512_reduce_max_ps(a.v); }

inline Table load_table(const int8_t *p) {
    const __m512i entries = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)p));
    return {_mm512_xor_si512(entries, _mm512_set1_epi8((char)0x80))};
}
inline Codes load_codes(const uint8_t *p) {
    return {_mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi8((char)0x80))};
}
inline void load_codes(const uint8_t *p, Table table, Codes &low, Codes &high) {
    const __m512i pairs = _mm512_loadu_si512(p), mask = _mm512_set1_epi8(15);
    low.v = _mm512_shuffle_epi8(table.v, _mm512_and_si512(pairs, mask));
    high.v = _mm512_shuffle_epi8(table.v, _mm512_and_si512(_mm512_srli_epi16(pairs, 4), mask));
}
inline Codes load_panel(const uint8_t *p) { return {_mm512_load_si512(p)}; }
inline void store_panel(uint8_t *p, Codes a) { _mm512_store_si512(p, a.v); }

inline Ints start(int32_t activation_sum) { return {_mm512_set1_epi32(-128 * activation_sum)}; }
inline Ints dot(Ints sums, Codes codes, const int8_t *x) {
    return {_mm512_dpbusd_epi32(sums.v, codes.v, _mm512_set1_epi32(*(const int32_t *)x))};
}
inline Floats to_floats(Ints a) { return {_mm512_cvtepi32_ps(a.v)}; }

}  // namespace
