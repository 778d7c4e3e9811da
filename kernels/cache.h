// The keys and values of a sequence and a key-value head in the cache, and how they are written.
#pragma once
#include <stdint.h>

#include "inner_loops.h"
#include "qwen7b.h"
#include "vector.h"

namespace {

inline int64_t scale_span(int64_t head_size) { return head_size % SPAN ? LANES : SPAN; }

struct Head {
    int64_t head_size;
    int8_t *keys8, *values8;
    uint16_t *keys16, *values16, *key_scales, *value_scales, *wide_keys;
    const float *balance;
    const int32_t *wide_axes;
};

Head head_of(const qwen7b_cache &cache, int64_t layer, int64_t kv_head, int64_t head_size) {
    const qwen7b_cache_layer &l = cache.layers[layer];
    const int64_t before = kv_head * round_up(l.num_slots, LANES);
    const int64_t at = before * head_size, scale = before * (head_size / scale_span(head_size));
    if (cache.bits == 16) return {head_size, 0, 0, (uint16_t *)l.keys + at, (uint16_t *)l.values + at, 0, 0, 0, 0, 0};
    return {head_size, (int8_t *)l.keys + at, (int8_t *)l.values + at, 0, 0, l.key_scales + scale, l.value_scales + scale,
            l.wide_keys + before * NUM_WIDE_AXES, l.balance + kv_head * head_size, l.wide_axes + kv_head * NUM_WIDE_AXES};
}

// Quantize `span` numbers to int8 codes and a float16 scale.
void quantize_span(const float *x, int64_t span, int8_t *codes, uint16_t *scale) {
    Floats max_abs = zeros();
    for (int64_t i = 0; i < span; i += LANES) max_abs = max(max_abs, abs(load(x + i)));
    uint16_t halves[LANES];
    store_half(halves, all(max(max_abs) / 127));
    *scale = halves[0];
    const Floats held = load_half(halves);
    float number[LANES];
    store(number, held);
    const Floats inverse = all(number[0] > 0 ? 1 / number[0] : 0), bound = all(127);
    for (int64_t i = 0; i < span; i += LANES)
        store_int8(codes + i, max(min(mul(load(x + i), inverse), bound), all(-127)));
}

void write_key_value(const Head &head, int64_t slot, const float *key, const float *value) {
    const int64_t size = head.head_size, block = slot / LANES, lane = slot % LANES;
    if (!head.keys8) {
        uint16_t halves[MAX_HEAD_SIZE];
        for (int64_t d = 0; d < size; d += LANES) {
            store_half(halves + d, load(key + d));
            store_half(head.values16 + slot * size + d, load(value + d));
        }
        for (int64_t d = 0; d < size; d++) head.keys16[(block * size + d) * LANES + lane] = halves[d];
        return;
    }
    float balanced[MAX_HEAD_SIZE], outliers[LANES] = {};
    uint16_t halves[LANES];
    for (int64_t d = 0; d < size; d += LANES) store(balanced + d, div(load(key + d), load(head.balance + d)));
    for (int64_t e = 0; e < NUM_WIDE_AXES; e++) {
        outliers[e] = balanced[head.wide_axes[e]];
        balanced[head.wide_axes[e]] = 0;
    }
    store_half(halves, load(outliers));
    for (int64_t e = 0; e < NUM_WIDE_AXES; e++) head.wide_keys[(block * NUM_WIDE_AXES + e) * LANES + lane] = halves[e];
    const int64_t span = scale_span(size), spans = size / span;
    int8_t codes[MAX_HEAD_SIZE];
    for (int64_t s = 0; s < spans; s++) {
        const int64_t scale = (block * spans + s) * LANES + lane;
        quantize_span(balanced + s * span, span, codes + s * span, head.key_scales + scale);
        quantize_span(value + s * span, span, head.values8 + slot * size + s * span, head.value_scales + scale);
    }
    for (int64_t d = 0; d < size; d++) head.keys8[(block * size + d) * LANES + lane] = codes[d];
}

}  // namespace
