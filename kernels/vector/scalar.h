// Sixteen lanes as arrays: for any processor, and the reference for what the other headers do.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

namespace {

constexpr int PANEL_BLOCKS = 1, PANEL_ROWS = 4, DIRECT_BLOCKS = 1, MANY_ABREAST = 1;

struct Floats { float v[16]; };
struct Ints { int32_t v[16]; };
struct Codes { int8_t v[64]; };
struct Table { int8_t v[16]; };

inline float from_half(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fff;
    uint32_t bits = (rest << 13) + ((127 - 15) << 23);
    if (rest >= 0x7c00) bits += (128 - 16) << 23;  // infinity and not a number
    float value;
    if (rest < 0x0400) value = ldexpf((float)rest, -24);
    else memcpy(&value, &bits, 4);
    return sign ? -value : value;
}
inline uint16_t to_half(float value) {  // to nearest even
    uint32_t bits;
    memcpy(&bits, &value, 4);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return sign | 0x7e00;
    if (bits >= 0x477ff000) return sign | 0x7c00;
    if (bits < 0x38800000) return sign | (uint16_t)nearbyintf(ldexpf(fabsf(value), 24));
    return sign | (uint16_t)((bits - ((127 - 15) << 23) + 0x0fff + (bits >> 13 & 1)) >> 13);
}

inline float from_bfloat16(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
inline uint16_t to_bfloat16(float value) {  // to nearest even
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return value != value ? 0x7fc0 : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#define EACH(expression) { Floats r; for (int i = 0; i < 16; i++) r.v[i] = expression; return r; }
inline Floats zeros() EACH(0)
inline Floats all(float x) EACH(x)
inline Floats load(const float *p) EACH(p[i])
inline Floats load_half(const uint16_t *p) EACH(from_half(p[i]))
inline Floats load_bfloat16(const uint16_t *p) EACH(from_bfloat16(p[i]))
inline Floats load_int8(const int8_t *p) EACH(p[i])
inline Floats add(Floats x, Floats y) EACH(x.v[i] + y.v[i])
inline Floats sub(Floats x, Floats y) EACH(x.v[i] - y.v[i])
inline Floats mul(Floats x, Floats y) EACH(x.v[i] * y.v[i])
inline Floats div(Floats x, Floats y) EACH(x.v[i] / y.v[i])
inline Floats max(Floats x, Floats y) EACH(x.v[i] > y.v[i] ? x.v[i] : y.v[i])
inline Floats min(Floats x, Floats y) EACH(x.v[i] < y.v[i] ? x.v[i] : y.v[i])
inline Floats abs(Floats x) EACH(fabsf(x.v[i]))
inline Floats fma(Floats x, Floats y, Floats z) EACH(x.v[i] * y.v[i] + z.v[i])
inline Floats round(Floats x) EACH(nearbyintf(x.v[i]))
inline Floats power_of_two(Floats n) EACH(n.v[i] <= -127 ? 0 : ldexpf(1, (int)n.v[i]))
inline Floats to_floats(Ints x) EACH((float)x.v[i])
#undef EACH
inline void store(float *p, Floats x) { memcpy(p, x.v, sizeof x.v); }
inline void store_half(uint16_t *p, Floats x) { for (int i = 0; i < 16; i++) p[i] = to_half(x.v[i]); }
inline void store_bfloat16(uint16_t *p, Floats x) { for (int i = 0; i < 16; i++) p[i] = to_bfloat16(x.v[i]); }
inline void store_int8(int8_t *p, Floats x) { for (int i = 0; i < 16; i++) p[i] = (int8_t)nearbyintf(x.v[i]); }
inline float sum(Floats x) {
    float added = 0;
    for (float lane : x.v) added += lane;
    return added;
}
inline float max(Floats x) {
    float largest = x.v[0];
    for (float lane : x.v) largest = lane > largest ? lane : largest;
    return largest;
}

inline Table load_table(const int8_t *p) {
    Table r;
    memcpy(r.v, p, sizeof r.v);
    return r;
}
inline Codes load_codes(const uint8_t *p) {
    Codes r;
    memcpy(r.v, p, sizeof r.v);
    return r;
}
inline void load_codes(const uint8_t *p, Table table, Codes &low, Codes &high) {
    for (int i = 0; i < 64; i++) low.v[i] = table.v[p[i] & 15], high.v[i] = table.v[p[i] >> 4];
}
inline Codes load_panel(const uint8_t *p) { return load_codes(p); }
inline void store_panel(uint8_t *p, Codes x) { memcpy(p, x.v, sizeof x.v); }
inline Ints start(int32_t) { return {}; }
inline Ints dot(Ints sums, Codes codes, const int8_t *x) {
    for (int i = 0; i < 64; i++) sums.v[i / 4] += codes.v[i] * x[i % 4];
    return sums;
}

}  // namespace
