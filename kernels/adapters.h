// What adapters add to the products of their rows: B (A x) in floats, where the product itself is of bytes. A x of all rows
// is computed first, and B's part while the product's sums are emitted. Every number is the same sum in the same order
// whatever the number of rows and threads.
#pragma once
#include <stdint.h>

#include "inner_loops.h"
#include "qwen7b.h"
#include "vector.h"

namespace {

// A product of a layer.
using Part = qwen7b_addition qwen7b_layer_additions::*;

constexpr int RANKS = 4;  // computed abreast

// `count` rows of A times x.
template <int count> void project(const float *a, const float *x, int64_t columns, float *to) {
    Floats sums[count];
    each<count>([&](auto r) { sums[r] = zeros(); });
    int64_t i = 0;
    for (; i + LANES <= columns; i += LANES) {
        const Floats part = load(x + i);
        each<count>([&](auto r) { sums[r] = fma(load(a + r * columns + i), part, sums[r]); });
    }
    if (i < columns) {
        const Floats part = load_part(x + i, columns - i);
        each<count>([&](auto r) { sums[r] = fma(load_part(a + r * columns + i, columns - i), part, sums[r]); });
    }
    each<count>([&](auto r) { to[r] = sum(sums[r]); });
}

// Ranks `first` to `first` + RANKS of A x, as far as there are so many.
inline void project_some(const qwen7b_addition &addition, const float *x, int64_t columns, int64_t first, float *to) {
    if (first + RANKS <= addition.rank) return project<RANKS>(addition.a + first * columns, x, columns, to + first);
    for (int64_t r = first; r < addition.rank; r++) project<1>(addition.a + r * columns, x, columns, to + r);
}

// A block of B's outputs for the projected x.
NOT_INLINED Floats expand(const qwen7b_addition &addition, int64_t block, const float *projected) {
    const float *b = addition.b + block * addition.rank * LANES;
    Floats sums[RANKS];
    each<RANKS>([&](auto i) { sums[i] = zeros(); });
    int64_t r = 0;
    for (; r + RANKS <= addition.rank; r += RANKS)
        each<RANKS>([&](auto i) { sums[i] = fma(load(b + (r + i) * LANES), all(projected[r + i]), sums[i]); });
    for (; r < addition.rank; r++) sums[0] = fma(load(b + r * LANES), all(projected[r]), sums[0]);
    return add(add(sums[0], sums[1]), add(sums[2], sums[3]));
}

}  // namespace
