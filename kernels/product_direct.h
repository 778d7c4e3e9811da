// Products of a few rows of x: weights are unpacked in registers, and read once for up to DIRECT_ROWS rows.
#pragma once
#include <stdint.h>

#include "activations.h"
#include "inner_loops.h"
#include "qwen7b.h"
#include "vector.h"

namespace {

constexpr int DIRECT_ROWS = 8;

template <int64_t bits> inline const uint8_t *block_codes(const qwen7b_matrix &m, int64_t block, int64_t num_groups) {
    return m.codes + block * num_groups * (LANES * GROUP * bits / 8);
}

// Compute `blocks` blocks of 16 outputs for `count` rows of x: sums[row][block].
template <int64_t bits, int blocks, int count>
void multiply_directly(const qwen7b_matrix &m, int64_t block, const Activations &x, int64_t row, Floats (*sums)[blocks]) {
    constexpr int64_t step = LANES * GROUP * bits / 8;
    const int64_t num_groups = x.num_groups, stride = num_groups * GROUP;
    const uint8_t *codes = block_codes<bits>(m, block, num_groups);
    const uint16_t *scales = m.scales + block * num_groups * LANES;
    const Table table = bits == 4 ? load_table(m.codebook) : Table{};
    const int8_t *x_codes = x.codes + row * stride;
    const float *x_scales = x.scales + row * num_groups;
    const int32_t *x_sums = x.sums + row * num_groups;
    Floats outputs[count][blocks];
    each<count>([&](auto r) { each<blocks>([&](auto b) { outputs[r][b] = zeros(); }); });
    for (int64_t g = 0; g < num_groups; g++, codes += step, scales += LANES) {
        Ints dots[count][blocks];
        each<count>([&](auto r) { each<blocks>([&](auto b) { dots[r][b] = start(x_sums[r * num_groups + g]); }); });
        each<blocks>([&](auto b) { prefetch(codes + b * num_groups * step + PREFETCH_DISTANCE, step); });
        const int8_t *inputs = x_codes + g * GROUP;
        for (int64_t quad = 0; quad < GROUP; quad += 32 / bits) {
            Codes low[blocks], high[blocks];
            each<blocks>([&](auto b) {
                const uint8_t *from = codes + b * num_groups * step + quad * LANES * bits / 8;
                if constexpr (bits == 4) load_codes(from, table, low[b], high[b]);
                else low[b] = load_codes(from);
            });
            each<count>([&](auto r) {
                each<blocks>([&](auto b) { dots[r][b] = dot(dots[r][b], low[b], inputs + r * stride + quad); });
                if constexpr (bits == 4)
                    each<blocks>([&](auto b) { dots[r][b] = dot(dots[r][b], high[b], inputs + r * stride + quad + 4); });
            });
        }
        each<blocks>([&](auto b) {
            const Floats weight_scales = load_half(scales + b * num_groups * LANES);
            each<count>([&](auto r) {
                outputs[r][b] = fma(to_floats(dots[r][b]), mul(weight_scales, all(x_scales[r * num_groups + g])), outputs[r][b]);
            });
        });
    }
    each<count>([&](auto r) { each<blocks>([&](auto b) { sums[r][b] = outputs[r][b]; }); });
}

// `blocks` blocks of the outputs of all rows of x: emit(row, block, sums) for each.
template <int64_t bits, int blocks, class Emit>
void multiply_few(const qwen7b_matrix &m, int64_t block, const Activations &x, int64_t num_rows, Emit emit) {
    for (int64_t row = 0; row < num_rows; row += DIRECT_ROWS) {
        Floats sums[DIRECT_ROWS][blocks];
        const int64_t count = num_rows - row < DIRECT_ROWS ? num_rows - row : DIRECT_ROWS;
        with_constant<DIRECT_ROWS>(count, [&](auto n) { multiply_directly<bits, blocks, n>(m, block, x, row, sums); });
        for (int r = 0; r < count; r++)
            for (int b = 0; b < blocks; b++) emit(row + r, block + b, sums[r][b]);
    }
}

}  // namespace
