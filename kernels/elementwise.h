// Operations on a single row or head.
#pragma once
#include <math.h>
#include <stdint.h>

#include "vector.h"

namespace {

void normalize(const float *x, const float *weight, int64_t size, float epsilon, float *to) {
    Floats squares = zeros();
    for (int64_t i = 0; i < size; i += LANES) {
        const Floats part = load_part(x + i, size - i);
        squares = fma(part, part, squares);
    }
    const Floats scale = all(1 / sqrtf(sum(squares) / (float)size + epsilon));
    for (int64_t i = 0; i < size; i += LANES)
        store_part(to + i, size - i, mul(mul(load_part(x + i, size - i), scale), load_part(weight + i, size - i)));
}

// Rotate the pairs (i, i + size/2) of a head by their angles, and scale the head.
void rotate(float *head, int64_t size, const float *cosines, const float *sines, float scale) {
    const int64_t half = size / 2;
    for (int64_t i = 0; i < half; i += LANES) {
        const int64_t left = half - i;
        const Floats c = mul(load_part(cosines + i, left), all(scale)), s = mul(load_part(sines + i, left), all(scale));
        const Floats a = load_part(head + i, left), b = load_part(head + half + i, left);
        store_part(head + i, left, sub(mul(a, c), mul(b, s)));
        store_part(head + half + i, left, fma(b, c, mul(a, s)));
    }
}

Floats silu(Floats x) {
    const Floats power = min(sub(zeros(), x), all(88));  // e^x of more overflows
    return div(x, add(all(1), exponential(power)));
}

}  // namespace
