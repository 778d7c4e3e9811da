// One pass of rows through the layers: its buffers and products. Work is distributed by rows, by blocks of outputs and
// by heads.
#pragma once
#include <stdint.h>

#include "activations.h"
#include "adapters.h"
#include "attention.h"
#include "elementwise.h"
#include "inner_loops.h"
#include "pool.h"
#include "product.h"
#include "qwen7b.h"
#include "vector.h"
#include "workspace.h"

namespace {

constexpr int64_t TILE_ROWS = 8;

// Rows of one sequence whose attention is computed together.
struct Tile {
    int64_t row, num_rows;
};

template <class Product> struct Pass {
    const qwen7b_model &model;
    const qwen7b_cache *const *caches;
    const qwen7b_rows &rows;
    const qwen7b_adapter *const *adapters;  // of each row, or null where it has none; null where none has
    float *x;
    int64_t max_chunks;  // chunks of positions that are distributed among threads; 0: one thread does all chunks of a head
    int64_t max_rank;    // of the rows' adapters
    Operands<Product> operands;
    float *normed;        // one row for each thread; all rows where some have adapters
    float *projected[2];  // (row, max_rank): what adapters make of the input of a product, or of two that share it
    float *qkv, *attention_output, *hidden;
    Tile *tiles;
    int64_t num_tiles;
    Partial *parts;  // (row, head, chunk), where chunks are distributed

    int64_t qkv_size() const { return (model.num_heads + 2 * model.num_kv_heads) * model.head_size; }
    int64_t inner_size() const { return model.num_heads * model.head_size; }
    int64_t num_sharing() const { return model.num_heads / model.num_kv_heads; }  // query heads per key-value head

    const qwen7b_cache &cache_of(int64_t row) const { return *caches[rows.sequences[row]]; }

    void take(Arena &arena, int num_threads) {
        const int64_t n = rows.num_rows, hidden_size = model.hidden_size, inner = inner_size();
        const int64_t wider = model.feed_forward_size > hidden_size ? model.feed_forward_size : hidden_size;
        operands.take(arena, n, wider > inner ? wider : inner, num_threads);
        arena.take(normed, adapters ? n * hidden_size : round_up(hidden_size, LANES) * num_threads);
        for (float *&to : projected) arena.take(to, n * max_rank);
        arena.take(qkv, n * qkv_size());
        arena.take(attention_output, n * inner);
        arena.take(hidden, n * model.feed_forward_size);
        arena.take(tiles, n);
        arena.take(parts, n * model.num_heads * max_chunks);
    }

    void cut_tiles() {
        num_tiles = 0;
        for (int64_t row = 0; row < rows.num_rows; row++) {
            Tile *tile = num_tiles ? &tiles[num_tiles - 1] : nullptr;
            if (tile && rows.sequences[tile->row] == rows.sequences[row] && tile->num_rows < TILE_ROWS) tile->num_rows++;
            else tiles[num_tiles++] = {row, 1};
        }
    }

    void quantize(Team &team, const float *from, int64_t columns) {
        const Activations to = operands.with_columns(columns);
        team.share(rows.num_rows, 1, [&](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; row++) quantize_row(from + row * columns, columns, to, row);
        });
    }

    void normalize_and_quantize(Team &team, int thread, const float *weight) {
        const int64_t size = model.hidden_size;
        const Activations to = operands.with_columns(size);
        team.share(rows.num_rows, 1, [&](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; row++) {
                float *row_normed = normed + (adapters ? row * size : thread * round_up(size, LANES));
                normalize(x + row * size, weight, size, model.norm_epsilon, row_normed);
                quantize_row(row_normed, size, to, row);
            }
        });
    }

    // What adapters make of the input of a part, where rows have any.
    void project(Team &team, const float *from, int64_t columns, int64_t index, Part part, float *to) {
        if (!adapters) return;
        team.share((max_rank + RANKS - 1) / RANKS, 1, [&](int64_t some, int64_t) {
            for (int64_t row = 0; row < rows.num_rows; row++)
                if (adapters[row])
                    project_some(adapters[row]->layers[index].*part, from + row * columns, columns, some * RANKS, to + row * max_rank);
        });
    }

    // A block of a part's outputs, with what the row's adapter adds to them.
    Floats adapted(Floats sums, int64_t row, int64_t block, int64_t index, Part part, const float *from) const {
        if (!adapters || !adapters[row]) return sums;
        const qwen7b_addition &addition = adapters[row]->layers[index].*part;
        return addition.rank ? add(sums, expand(addition, block, from + row * max_rank)) : sums;
    }

    // emit(row, block, sums) for all rows; the input is what was quantized last.
    template <class Emit> void product(Team &team, int thread, const qwen7b_matrix &m, Emit emit) {
        const Activations input = operands.with_columns(m.columns);
        uint8_t *scratch = operands.scratch_of(thread);
        team.share(num_blocks(m), Product::grain(m, rows.num_rows), [&](int64_t first, int64_t last) {
            Product::multiply(m, first, last, input, rows.num_rows, scratch, emit);
        });
    }

    // Adds the product of `from`, which was quantized last, to the residual stream.
    void add_product(Team &team, int thread, const qwen7b_matrix &m, const float *from, int64_t index, Part part) {
        project(team, from, m.columns, index, part, projected[0]);
        product(team, thread, m, [&](int64_t row, int64_t block, Floats sums) {
            sums = adapted(sums, row, block, index, part, projected[0]);
            float *to = x + row * m.rows + block * LANES;
            const int64_t left = m.rows - block * LANES;
            store_part(to, left, add(load_part(to, left), sums));
        });
    }
};

}  // namespace
