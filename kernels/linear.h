// A product on its own, outside of the layers.
#pragma once
#include <stdint.h>

#include "activations.h"
#include "pool.h"
#include "product.h"
#include "qwen7b.h"
#include "vector.h"
#include "workspace.h"

namespace {

template <class Product> void linear(const qwen7b_matrix &m, const float *x, int64_t num_rows, float *y) {
    Session session;
    Operands<Product> operands{};
    Arena counting{nullptr, 0};
    operands.take(counting, num_rows, m.columns, session.num_threads());
    Arena arena{session.memory(counting.used), 0};
    operands.take(arena, num_rows, m.columns, session.num_threads());
    session.run([&](Team &team, int thread) {
        [[maybe_unused]] const typename Product::OnThread on_thread{};
        team.share(num_rows, 1, [&](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; row++) quantize_row(x + row * m.columns, m.columns, operands.x, row);
        });
        uint8_t *scratch = operands.scratch_of(thread);
        team.share(num_blocks(m), Product::grain(m, num_rows), [&](int64_t first, int64_t last) {
            Product::multiply(m, first, last, operands.x, num_rows, scratch, [&](int64_t row, int64_t block, Floats sums) {
                const int64_t at = block * LANES, left = m.rows - at;
                if (m.bias) sums = add(sums, load_part(m.bias + at, left));
                store_part(y + row * m.rows + at, left, sums);
            });
        });
    });
}

}  // namespace
