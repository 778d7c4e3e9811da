// The feed-forward half of a layer.
#pragma once
#include <stdint.h>

#include "elementwise.h"
#include "pass.h"
#include "pool.h"
#include "product.h"
#include "qwen7b.h"
#include "vector.h"

namespace {

template <class Product> void feed_forward(Pass<Product> &pass, Team &team, int thread, int64_t index, const qwen7b_layer &layer) {
    pass.normalize_and_quantize(team, thread, layer.feed_forward_norm);
    pass.project(team, pass.normed, pass.model.hidden_size, index, &qwen7b_layer_additions::gate, pass.projected[0]);
    pass.project(team, pass.normed, pass.model.hidden_size, index, &qwen7b_layer_additions::up, pass.projected[1]);
    const Activations input = pass.operands.with_columns(pass.model.hidden_size);
    uint8_t *scratch = pass.operands.scratch_of(thread);
    const int64_t n = pass.rows.num_rows, size = pass.model.feed_forward_size;
    // The thread that computed some blocks of the gate computes the same blocks of `up`: the gate is still in its cache.
    team.share(num_blocks(layer.gate), Product::grain(layer.gate, n), [&](int64_t first, int64_t last) {
        Product::multiply(layer.gate, first, last, input, n, scratch, [&](int64_t row, int64_t block, Floats gate) {
            gate = pass.adapted(gate, row, block, index, &qwen7b_layer_additions::gate, pass.projected[0]);
            store_part(pass.hidden + row * size + block * LANES, size - block * LANES, gate);
        });
        Product::multiply(layer.up, first, last, input, n, scratch, [&](int64_t row, int64_t block, Floats up) {
            up = pass.adapted(up, row, block, index, &qwen7b_layer_additions::up, pass.projected[1]);
            float *at = pass.hidden + row * size + block * LANES;
            store_part(at, size - block * LANES, mul(silu(load_part(at, size - block * LANES)), up));
        });
    });
    pass.quantize(team, pass.hidden, size);
    pass.add_product(team, thread, layer.down, pass.hidden, index, &qwen7b_layer_additions::down);
}

}  // namespace
