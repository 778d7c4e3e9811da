// Rows of x as int8 codes, with one scale and one sum for each group.
#pragma once
#include <float.h>
#include <stdint.h>
#include <string.h>

#include "vector.h"

namespace {

struct Activations {
    int64_t num_groups;
    int8_t *codes;
    float *scales;
    int32_t *sums;
};

inline int64_t groups_of(int64_t columns) { return (columns + GROUP - 1) / GROUP; }

void quantize_group(const float *x, int64_t count, int8_t *codes, float *scale, int32_t *sum_of_codes) {
    float padded[GROUP];
    if (count < GROUP) {
        for (int64_t i = 0; i < GROUP; i++) padded[i] = i < count ? x[i] : 0;
        x = padded;
    }
    Floats max_abs = zeros(), sums = zeros(), nothing = zeros();
    for (int64_t i = 0; i < GROUP; i += LANES) {
        max_abs = max(max_abs, abs(load(x + i)));
        nothing = fma(load(x + i), zeros(), nothing);
    }
    *scale = max(max_abs) / 127 + sum(nothing);  // which is no number where one of x is none, and so are the products
    if (!(*scale <= FLT_MAX)) {
        memset(codes, 0, GROUP);
        *sum_of_codes = 0;
        return;
    }
    const Floats inverse = all(*scale >= FLT_MIN ? 1 / *scale : 0);  // a smaller scale has no finite inverse
    for (int64_t i = 0; i < GROUP; i += LANES) {
        const Floats rounded = round(mul(load(x + i), inverse));
        store_int8(codes + i, rounded);
        sums = add(sums, rounded);
    }
    *sum_of_codes = (int32_t)sum(sums);
}

void quantize_row(const float *x, int64_t count, const Activations &to, int64_t row) {
    for (int64_t g = 0; g < to.num_groups; g++) {
        const int64_t at = row * to.num_groups + g;
        const int64_t left = count - g * GROUP;
        quantize_group(x + g * GROUP, left < GROUP ? left : GROUP, to.codes + at * GROUP, to.scales + at, to.sums + at);
    }
}

}  // namespace
