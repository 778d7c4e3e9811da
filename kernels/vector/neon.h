// Sixteen lanes in four 128-bit registers; products by SDOT, signed by signed.
#pragma once
#include <arm_neon.h>
#include <stdint.h>

namespace {

constexpr int PANEL_BLOCKS = 1, PANEL_ROWS = 5, DIRECT_BLOCKS = 1, MANY_ABREAST = 1;

struct Floats { float32x4_t v[4]; };
struct Ints { int32x4_t v[4]; };
struct Codes { int8x16_t v[4]; };
struct Table { int8x16_t v; };

#define EACH(expression) { Floats r; for (int i = 0; i < 4; i++) r.v[i] = expression; return r; }
inline Floats zeros() EACH(vdupq_n_f32(0))
inline Floats all(float x) EACH(vdupq_n_f32(x))
inline Floats load(const float *p) EACH(vld1q_f32(p + 4 * i))
inline Floats load_half(const uint16_t *p) EACH(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))))
inline Floats add(Floats x, Floats y) EACH(vaddq_f32(x.v[i], y.v[i]))
inline Floats sub(Floats x, Floats y) EACH(vsubq_f32(x.v[i], y.v[i]))
inline Floats mul(Floats x, Floats y) EACH(vmulq_f32(x.v[i], y.v[i]))
inline Floats div(Floats x, Floats y) EACH(vdivq_f32(x.v[i], y.v[i]))
inline Floats max(Floats x, Floats y) EACH(vmaxq_f32(x.v[i], y.v[i]))
inline Floats min(Floats x, Floats y) EACH(vminq_f32(x.v[i], y.v[i]))
inline Floats abs(Floats x) EACH(vabsq_f32(x.v[i]))
inline Floats fma(Floats x, Floats y, Floats z) EACH(vfmaq_f32(z.v[i], x.v[i], y.v[i]))
inline Floats round(Floats x) EACH(vrndnq_f32(x.v[i]))
inline Floats power_of_two(Floats n)
    EACH(vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n.v[i]), vdupq_n_s32(127)), 23)))
inline Floats to_floats(Ints x) EACH(vcvtq_f32_s32(x.v[i]))
#undef EACH
inline void store(float *p, Floats x) {
    for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, x.v[i]);
}
inline void store_half(uint16_t *p, Floats x) {
    for (int i = 0; i < 4; i++) vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(x.v[i])));
}
inline Floats load_bfloat16(const uint16_t *p) {
    Floats r;
    for (int i = 0; i < 4; i++) r.v[i] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16));
    return r;
}
inline void store_bfloat16(uint16_t *p, Floats x) {  // rounds to nearest even
    for (int i = 0; i < 4; i++) {
        const uint32x4_t bits = vreinterpretq_u32_f32(x.v[i]), odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
        const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
        const uint32x4_t is_number = vceqq_f32(x.v[i], x.v[i]);
        vst1_u16(p + 4 * i, vshrn_n_u32(vbslq_u32(is_number, rounded, vdupq_n_u32(0x7fc00000)), 16));
    }
}
inline Floats load_int8(const int8_t *p) {
    const int8x16_t bytes = vld1q_s8(p);
    const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
    return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
             vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))}};
}
inline void store_int8(int8_t *p, Floats x) {
    const int16x8_t low = vcombine_s16(vmovn_s32(vcvtnq_s32_f32(x.v[0])), vmovn_s32(vcvtnq_s32_f32(x.v[1])));
    const int16x8_t high = vcombine_s16(vmovn_s32(vcvtnq_s32_f32(x.v[2])), vmovn_s32(vcvtnq_s32_f32(x.v[3])));
    vst1q_s8(p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}
inline float sum(Floats x) { return vaddvq_f32(vaddq_f32(vaddq_f32(x.v[0], x.v[1]), vaddq_f32(x.v[2], x.v[3]))); }
inline float max(Floats x) { return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.v[0], x.v[1]), vmaxq_f32(x.v[2], x.v[3]))); }

inline Table load_table(const int8_t *p) { return {vld1q_s8(p)}; }
inline Codes load_codes(const uint8_t *p) {
    Codes r;
    for (int i = 0; i < 4; i++) r.v[i] = vreinterpretq_s8_u8(vld1q_u8(p + 16 * i));
    return r;
}
inline void load_codes(const uint8_t *p, Table table, Codes &low, Codes &high) {
    for (int i = 0; i < 4; i++) {
        const uint8x16_t pairs = vld1q_u8(p + 16 * i);
        low.v[i] = vqtbl1q_s8(table.v, vandq_u8(pairs, vdupq_n_u8(15)));
        high.v[i] = vqtbl1q_s8(table.v, vshrq_n_u8(pairs, 4));
    }
}
inline Codes load_panel(const uint8_t *p) { return load_codes(p); }
inline void store_panel(uint8_t *p, Codes x) {
    for (int i = 0; i < 4; i++) vst1q_u8(p + 16 * i, vreinterpretq_u8_s8(x.v[i]));
}
inline Ints start(int32_t) {
    const int32x4_t zero = vdupq_n_s32(0);
    return {{zero, zero, zero, zero}};
}
inline Ints dot(Ints sums, Codes codes, const int8_t *x) {
    const int8x16_t four = vreinterpretq_s8_s32(vld1q_dup_s32((const int32_t *)x));
    for (int i = 0; i < 4; i++) sums.v[i] = vdotq_s32(sums.v[i], codes.v[i], four);
    return sums;
}

}  // namespace
