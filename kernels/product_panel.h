// Products of many rows of x: a panel of weights is unpacked to bytes once for all of them.
#pragma once
#include <stdint.h>

#include "activations.h"
#include "inner_loops.h"
#include "product_direct.h"
#include "qwen7b.h"
#include "vector.h"

namespace {

// Unpack some blocks to bytes for dot(): (group, quad, block, 64).
template <int64_t bits, int blocks>
void unpack_panel(const qwen7b_matrix &m, int64_t block, int64_t num_groups, uint8_t *panel) {
    const Table table = bits == 4 ? load_table(m.codebook) : Table{};
    for (int b = 0; b < blocks; b++) {
        const uint8_t *codes = block_codes<bits>(m, block + b, num_groups);
        uint8_t *to = panel + b * 64;
        for (int64_t quad = 0; quad < num_groups * GROUP / 4; quad += bits == 4 ? 2 : 1) {
            if constexpr (bits == 4) {
                Codes low, high;
                load_codes(codes + quad * 32, table, low, high);
                store_panel(to + quad * blocks * 64, low);
                store_panel(to + (quad + 1) * blocks * 64, high);
            } else {
                store_panel(to + quad * blocks * 64, load_codes(codes + quad * 64));
            }
        }
    }
}

template <int blocks, int count>
NOT_INLINED void multiply_panel(const qwen7b_matrix &m, int64_t block, const uint8_t *panel, const Activations &x,
                                int64_t row, Floats (*sums)[blocks]) {
    const int64_t num_groups = x.num_groups, stride = num_groups * GROUP;
    const int8_t *x_codes = x.codes + row * stride;
    const float *x_scales = x.scales + row * num_groups;
    const int32_t *x_sums = x.sums + row * num_groups;
    const uint16_t *scales = m.scales + block * num_groups * LANES;
    Floats outputs[count][blocks];
    each<count>([&](auto r) { each<blocks>([&](auto b) { outputs[r][b] = zeros(); }); });
    for (int64_t g = 0; g < num_groups; g++) {
        Ints dots[count][blocks];
        each<count>([&](auto r) { each<blocks>([&](auto b) { dots[r][b] = start(x_sums[r * num_groups + g]); }); });
        for (int64_t quad = 0; quad < GROUP; quad += 4, panel += blocks * 64) {
            Codes codes[blocks];
            each<blocks>([&](auto b) { codes[b] = load_panel(panel + b * 64); });
            each<count>([&](auto r) {
                each<blocks>([&](auto b) { dots[r][b] = dot(dots[r][b], codes[b], x_codes + r * stride + g * GROUP + quad); });
            });
        }
        each<blocks>([&](auto b) {
            const Floats weight_scales = load_half(scales + (b * num_groups + g) * LANES);
            each<count>([&](auto r) {
                outputs[r][b] = fma(to_floats(dots[r][b]), mul(weight_scales, all(x_scales[r * num_groups + g])), outputs[r][b]);
            });
        });
    }
    each<count>([&](auto r) { each<blocks>([&](auto b) { sums[r][b] = outputs[r][b]; }); });
}

// `blocks` blocks of the outputs of all rows of x: emit(row, block, sums) for each.
template <int64_t bits, int blocks, class Emit>
void multiply_through_panel(const qwen7b_matrix &m, int64_t block, const Activations &x, int64_t num_rows,
                            uint8_t *panel, Emit emit) {
    unpack_panel<bits, blocks>(m, block, x.num_groups, panel);
    for (int64_t row = 0; row < num_rows; row += PANEL_ROWS) {
        Floats sums[PANEL_ROWS][blocks];
        const int64_t count = num_rows - row < PANEL_ROWS ? num_rows - row : PANEL_ROWS;
        with_constant<PANEL_ROWS>(count, [&](auto n) { multiply_panel<blocks, n>(m, block, panel, x, row, sums); });
        for (int r = 0; r < count; r++)
            for (int b = 0; b < blocks; b++) emit(row + r, block + b, sums[r][b]);
    }
}

}  // namespace
