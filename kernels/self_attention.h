// The attention half of a layer.
#pragma once
#include <math.h>
#include <stdint.h>

#include "attention.h"
#include "cache.h"
#include "elementwise.h"
#include "pass.h"
#include "pool.h"
#include "qwen7b.h"
#include "vector.h"

namespace {

// Rotate queries and keys by their positions, and write keys and values into the cache.
template <class Product> void rotate_and_cache(Pass<Product> &pass, Team &team, int64_t index) {
    const qwen7b_model &model = pass.model;
    const qwen7b_rows &rows = pass.rows;
    const int64_t size = model.head_size, kv_heads = model.num_kv_heads, sharing = pass.num_sharing();
    team.share(rows.num_rows * kv_heads, 4, [&](int64_t first, int64_t last) {
        for (int64_t item = first; item < last; item++) {
            const int64_t row = item / kv_heads, kv_head = item % kv_heads;
            float *qkv = pass.qkv + row * pass.qkv_size();
            const float *cosines = rows.cosines + row * size / 2, *sines = rows.sines + row * size / 2;
            const float scale = (rows.query_scales ? rows.query_scales[row] : 1) / sqrtf((float)size);
            const qwen7b_cache &cache = pass.cache_of(row);
            const Head head = head_of(cache, index, kv_head, size);
            for (int64_t h = 0; h < sharing; h++) {
                float *query = qkv + (kv_head * sharing + h) * size;
                rotate(query, size, cosines, sines, scale);
                if (head.balance)
                    for (int64_t d = 0; d < size; d += LANES) store(query + d, mul(load(query + d), load(head.balance + d)));
            }
            float *key = qkv + (model.num_heads + kv_head) * size;
            rotate(key, size, cosines, sines, 1);
            write_key_value(head, rows.positions[row] % cache.layers[index].num_slots, key, key + kv_heads * size);
        }
    });
}

// A query of a tile and a key-value head, by its number: row after row, and head after head within a row.
template <class Product>
Query query_of(const Pass<Product> &pass, const Tile &tile, int64_t kv_head, int64_t number, int64_t window) {
    const int64_t sharing = pass.num_sharing(), row = tile.row + number / sharing;
    const int64_t end = pass.rows.positions[row] + 1, head = kv_head * sharing + number % sharing;
    return {pass.qkv + row * pass.qkv_size() + head * pass.model.head_size, window && end > window ? end - window : 0, end};
}

template <class Product>  // row · num_heads + head
int64_t head_number(const Pass<Product> &pass, const Tile &tile, int64_t kv_head, int64_t number) {
    const int64_t sharing = pass.num_sharing();
    return (tile.row + number / sharing) * pass.model.num_heads + kv_head * sharing + number % sharing;
}

template <class Product> void finish(const Pass<Product> &pass, const Partial &part, int64_t head) {
    const int64_t size = pass.model.head_size;
    const Floats inverse = all(1 / part.sum_exp);
    for (int64_t d = 0; d < size; d += LANES)
        store(pass.attention_output + head * size + d, mul(load(part.output + d), inverse));
}

// Attention for up to QUERY_TILE queries of a tile and a key-value head; where chunks are distributed, over one only.
template <class Product>
void attend_queries(Pass<Product> &pass, const Tile &tile, const Head &head, int64_t kv_head, int64_t number, int64_t index,
                    int64_t only_chunk) {
    const qwen7b_cache_layer &cache_layer = pass.cache_of(tile.row).layers[index];
    const int64_t window = cache_layer.window, num_slots = cache_layer.num_slots;
    const int64_t left = tile.num_rows * pass.num_sharing() - number;
    const int count = (int)(left < QUERY_TILE ? left : QUERY_TILE);
    Query queries[QUERY_TILE];
    Partial parts[QUERY_TILE], merged[QUERY_TILE];
    int64_t first = INT64_MAX, last = 0;
    for (int q = 0; q < count; q++) {
        queries[q] = query_of(pass, tile, kv_head, number + q, window);
        first = queries[q].first < first ? queries[q].first : first;
        last = queries[q].last > last ? queries[q].last : last;
    }
    int64_t from = first / CHUNK, to = (last + CHUNK - 1) / CHUNK;
    if (pass.max_chunks) {
        if (only_chunk < from || only_chunk >= to) return;
        from = only_chunk, to = only_chunk + 1;
    }
    for (int64_t c = from; c < to; c++) {
        const int64_t slot = c * CHUNK % num_slots, slot_offset = c * CHUNK - slot;
        Query slot_queries[QUERY_TILE];
        for (int q = 0; q < count; q++) slot_queries[q] = {queries[q].vector, queries[q].first - slot_offset, queries[q].last - slot_offset};
        attend(head, slot, slot_queries, count, parts);
        for (int q = 0; q < count; q++) {
            if (pass.max_chunks) pass.parts[head_number(pass, tile, kv_head, number + q) * pass.max_chunks + c] = parts[q];
            else if (c == from) merged[q] = parts[q];
            else merge(merged[q], parts[q], pass.model.head_size);
        }
    }
    if (!pass.max_chunks)
        for (int q = 0; q < count; q++) finish(pass, merged[q], head_number(pass, tile, kv_head, number + q));
}

template <class Product> void attend_heads(Pass<Product> &pass, Team &team, int64_t index) {
    const qwen7b_model &model = pass.model;
    const int64_t kv_heads = model.num_kv_heads, chunks = pass.max_chunks ? pass.max_chunks : 1;
    team.share(pass.num_tiles * kv_heads * chunks, 1, [&](int64_t item, int64_t) {
        const Tile &tile = pass.tiles[item / chunks / kv_heads];
        const int64_t kv_head = item / chunks % kv_heads;
        const Head head = head_of(pass.cache_of(tile.row), index, kv_head, model.head_size);
        for (int64_t number = 0; number < tile.num_rows * pass.num_sharing(); number += QUERY_TILE)
            attend_queries(pass, tile, head, kv_head, number, index, item % chunks);
    });
    if (!pass.max_chunks) return;
    team.share(pass.rows.num_rows * model.num_heads, 1, [&](int64_t item, int64_t) {
        const int64_t row = item / model.num_heads, end = pass.rows.positions[row] + 1;
        const int64_t window = pass.cache_of(row).layers[index].window;
        const int64_t from = (window && end > window ? end - window : 0) / CHUNK, to = (end + CHUNK - 1) / CHUNK;
        Partial &merged = pass.parts[item * chunks + from];
        for (int64_t c = from + 1; c < to; c++) merge(merged, pass.parts[item * chunks + c], model.head_size);
        finish(pass, merged, item);
    });
}

template <class Product>
void self_attention(Pass<Product> &pass, Team &team, int thread, int64_t index, const qwen7b_layer &layer) {
    pass.normalize_and_quantize(team, thread, layer.attention_norm);
    pass.project(team, pass.normed, pass.model.hidden_size, index, &qwen7b_layer_additions::qkv, pass.projected[0]);
    const int64_t size = pass.qkv_size();
    pass.product(team, thread, layer.qkv, [&](int64_t row, int64_t block, Floats sums) {
        const int64_t at = block * LANES, left = size - at;
        if (layer.qkv.bias) sums = add(sums, load_part(layer.qkv.bias + at, left));
        sums = pass.adapted(sums, row, block, index, &qwen7b_layer_additions::qkv, pass.projected[0]);
        store_part(pass.qkv + row * size + at, left, sums);
    });
    rotate_and_cache(pass, team, index);
    attend_heads(pass, team, index);
    pass.quantize(team, pass.attention_output, pass.inner_size());
    pass.add_product(team, thread, layer.output, pass.attention_output, index, &qwen7b_layer_additions::output);
}

}  // namespace
