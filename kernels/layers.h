// The decoder's layers over the rows of one pass.
#pragma once
#include <stdint.h>

#include "feed_forward.h"
#include "inner_loops.h"
#include "pass.h"
#include "pool.h"
#include "qwen7b.h"
#include "self_attention.h"
#include "vector.h"
#include "workspace.h"

namespace {

template <class Product>
void run_layers(const qwen7b_model &model, const qwen7b_cache *const *caches, const qwen7b_rows &rows,
                const qwen7b_adapter *const *adapters, int64_t first, int64_t last, float *x) {
    Session session;
    const int num_threads = session.num_threads();
    // Where there are too few heads to keep the threads busy, chunks of positions are distributed as well.
    int64_t longest = 0, max_chunks = 0;
    for (int64_t row = 0; row < rows.num_rows; row++)
        longest = rows.positions[row] >= longest ? rows.positions[row] + 1 : longest;
    if (num_threads > 1 && rows.num_rows * model.num_kv_heads < 4 * num_threads) max_chunks = (longest + CHUNK - 1) / CHUNK;
    int64_t max_rank = 0;
    for (int64_t row = 0; adapters && row < rows.num_rows; row++)
        if (adapters[row] && adapters[row]->max_rank > max_rank) max_rank = adapters[row]->max_rank;
    Pass<Product> pass{model, caches, rows, adapters, x, max_chunks, max_rank, {}, {}, {}, {}, {}, {}, {}, {}, {}};
    Arena counting{nullptr, 0};
    pass.take(counting, num_threads);
    Arena arena{session.memory(counting.used), 0};
    pass.take(arena, num_threads);
    pass.cut_tiles();
    session.run([&](Team &team, int thread) {
        [[maybe_unused]] const typename Product::OnThread on_thread{};
        for (int64_t index = first; index < last; index++) {
            self_attention(pass, team, thread, index, model.layers[index]);
            feed_forward(pass, team, thread, index, model.layers[index]);
        }
    });
}

}  // namespace
