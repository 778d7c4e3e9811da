// The two sums of attention: scores of positions, and values weighted by them. Several are computed in parallel, as each
// addition waits for the one before it; fewer where there are many queries, as far as registers hold them.
#pragma once
#include <stdint.h>

#include "cache.h"
#include "inner_loops.h"
#include "vector.h"

namespace {

template <int count> constexpr int ABREAST = count == 1 ? 4 : count < 4 ? 2 : MANY_ABREAST;

// Weights of a chunk's positions, a copy for each span: with int8 values they are multiplied by the span's scale.
using Weights = float[MAX_HEAD_SIZE / LANES][CHUNK];

// Compute scores[q] of the positions in `blocks` blocks.
template <int bits, int count, int blocks>
void score(const Head &head, int64_t block, const float *const *vectors, float *const *scores) {
    const int64_t size = head.head_size, span = scale_span(size), spans = size / span;
    Floats results[count][blocks];
    each<count>([&](auto q) { each<blocks>([&](auto b) { results[q][b] = zeros(); }); });
    for (int64_t s = 0; s < spans; s++) {
        Floats sums[count][blocks];
        each<count>([&](auto q) { each<blocks>([&](auto b) { sums[q][b] = zeros(); }); });
        for (int64_t d = s * span; d < (s + 1) * span; d++) {
            Floats keys[blocks];
            each<blocks>([&](auto b) {
                const int64_t at = ((block + b) * size + d) * LANES;
                if constexpr (bits == 8) keys[b] = load_int8(head.keys8 + at);
                else keys[b] = load_half(head.keys16 + at);
            });
            each<count>([&](auto q) {
                const Floats number = all(vectors[q][d]);
                each<blocks>([&](auto b) { sums[q][b] = fma(keys[b], number, sums[q][b]); });
            });
        }
        each<blocks>([&](auto b) {  // the values of these positions are read next
            const int64_t at = ((block + b) * size + s * span) * LANES;
            if constexpr (bits == 8) prefetch(head.values8 + at, span * LANES);
            else prefetch(head.values16 + at, 2 * span * LANES);
            const Floats scale = bits == 8 ? load_half(head.key_scales + ((block + b) * spans + s) * LANES) : all(1);
            each<count>([&](auto q) { results[q][b] = fma(sums[q][b], scale, results[q][b]); });
        });
    }
    if constexpr (bits == 8)
        for (int64_t e = 0; e < NUM_WIDE_AXES; e++)
            each<blocks>([&](auto b) {
                const Floats keys = load_half(head.wide_keys + ((block + b) * NUM_WIDE_AXES + e) * LANES);
                each<count>([&](auto q) { results[q][b] = fma(keys, all(vectors[q][head.wide_axes[e]]), results[q][b]); });
            });
    each<count>([&](auto q) { each<blocks>([&](auto b) { store(scores[q] + b * LANES, results[q][b]); }); });
}

// Compute outputs[q] for `vectors` times 16 axes from axis d on: the weighted sum of the values of positions from..to.
template <int bits, int count, int vectors>
void sum_values(const Head &head, int64_t d, int64_t from, int64_t to, const Weights *weights, float *const *outputs) {
    const int64_t size = head.head_size, span = scale_span(size), start = from / CHUNK * CHUNK;
    constexpr int64_t stride = sizeof(Weights) / sizeof(float);
    const float *of_first[vectors];  // the first query's weights; a division takes longer than what is done for a position
    each<vectors>([&](auto v) { of_first[v] = weights[0][bits == 8 ? (d + v * LANES) / span : 0] - start; });
    Floats sums[count][vectors];
    each<count>([&](auto q) { each<vectors>([&](auto v) { sums[q][v] = zeros(); }); });
    for (int64_t position = from; position < to; position++) {
        if (d == 0) {  // the keys of the next chunk are read next
            const int64_t ahead = (position + CHUNK) * size;
            if constexpr (bits == 8) prefetch(head.keys8 + ahead, size);
            else prefetch(head.keys16 + ahead, 2 * size);
        }
        Floats values[vectors];
        each<vectors>([&](auto v) {
            const int64_t at = position * size + d + v * LANES;
            if constexpr (bits == 8) values[v] = load_int8(head.values8 + at);
            else values[v] = load_half(head.values16 + at);
        });
        each<count>([&](auto q) {
            each<vectors>([&](auto v) {
                sums[q][v] = fma(values[v], all(of_first[v][q * stride + position]), sums[q][v]);
            });
        });
    }
    each<count>([&](auto q) { each<vectors>([&](auto v) { store(outputs[q] + d + v * LANES, sums[q][v]); }); });
}

}  // namespace
