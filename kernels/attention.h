// Attention over the cache. Positions are processed in chunks at fixed bounds, each with a softmax of its own, and
// the chunks are merged in order: so a row's result depends neither on threads nor on the other rows.
// After https://arxiv.org/abs/2112.05682 and https://arxiv.org/abs/2205.14135.
#pragma once
#include <math.h>
#include <stdint.h>

#include "attention_sums.h"
#include "cache.h"
#include "inner_loops.h"
#include "vector.h"

namespace {

constexpr int QUERY_TILE = 8;

// Attention over some positions: their largest score, the sum of exp(score - max_score), and the sum of the values
// weighted by these exponentials.
struct Partial {
    float max_score, sum_exp;
    float output[MAX_HEAD_SIZE];
};

void merge(Partial &into, const Partial &next, int64_t head_size) {
    if (next.max_score == -INFINITY) return;
    const float max_score = into.max_score > next.max_score ? into.max_score : next.max_score;
    float weights[LANES] = {into.max_score - max_score, next.max_score - max_score};
    store(weights, exponential(load(weights)));
    into.max_score = max_score;
    into.sum_exp = into.sum_exp * weights[0] + next.sum_exp * weights[1];
    for (int64_t d = 0; d < head_size; d += LANES)
        store(into.output + d, fma(load(next.output + d), all(weights[1]), mul(load(into.output + d), all(weights[0]))));
}

// A query, scaled and, for int8 keys, balanced; and the positions (or slots) that it attends to: first up to last.
struct Query {
    const float *vector;
    int64_t first, last;
};

// Turn the scores of positions from..end, in weights[0], into weights: a chunk's softmax before the division.
template <int bits>
void weigh(const Head &head, int64_t start, int64_t from, int64_t end, const Query &query, Weights &weights, Partial &part) {
    float *scores = weights[0] - start;
    for (int64_t position = from; position < query.first && position < end; position++) scores[position] = -INFINITY;
    for (int64_t position = query.last > from ? query.last : from; position < end; position++) scores[position] = -INFINITY;
    Floats max_scores = all(-INFINITY), sums_exp = zeros();
    for (int64_t position = from; position < end; position += LANES) max_scores = max(max_scores, load(scores + position));
    part.max_score = max(max_scores);
    const Floats max_score = all(part.max_score == -INFINITY ? 0 : part.max_score);
    for (int64_t position = from; position < end; position += LANES) {
        const Floats weight = exponential(sub(load(scores + position), max_score));
        store(scores + position, weight);
        sums_exp = add(sums_exp, weight);
    }
    part.sum_exp = sum(sums_exp);
    if (bits == 16) return;
    const int64_t spans = head.head_size / scale_span(head.head_size);
    for (int64_t position = from; position < end; position += LANES) {
        const Floats weight = load(scores + position);
        const uint16_t *scales = head.value_scales + position / LANES * spans * LANES;
        for (int64_t s = spans; s-- > 0;) store(weights[s] + (position - start), mul(weight, load_half(scales + s * LANES)));
    }
}

// For `count` queries, attention over positions start..start+CHUNK.
template <int bits, int count> void attend(const Head &head, int64_t start, const Query *queries, Partial *parts) {
    const int64_t size = head.head_size;
    int64_t from = start + CHUNK, to = start;
    for (int q = 0; q < count; q++) {
        from = queries[q].first < from ? queries[q].first : from;
        to = queries[q].last > to ? queries[q].last : to;
    }
    from = from > start ? from / LANES * LANES : start;
    to = to < start + CHUNK ? to : start + CHUNK;

    alignas(64) Weights weights[count];
    const float *vectors[count];
    float *outputs[count];
    for (int q = 0; q < count; q++) vectors[q] = queries[q].vector, outputs[q] = parts[q].output;
    constexpr int blocks = ABREAST<count>;
    for (int64_t position = from; position < to;) {
        float *scores[count];
        for (int q = 0; q < count; q++) scores[q] = weights[q][0] + (position - start);
        if (position + blocks * LANES <= to) {
            score<bits, count, blocks>(head, position / LANES, vectors, scores);
            position += blocks * LANES;
        } else {
            score<bits, count, 1>(head, position / LANES, vectors, scores);
            position += LANES;
        }
    }
    for (int q = 0; q < count; q++) weigh<bits>(head, start, from, round_up(to, LANES), queries[q], weights[q], parts[q]);
    int64_t d = 0;
    for (; d + blocks * LANES <= size; d += blocks * LANES) sum_values<bits, count, blocks>(head, d, from, to, weights, outputs);
    for (; d < size; d += LANES) sum_values<bits, count, 1>(head, d, from, to, weights, outputs);
}

// The same for any number of queries up to QUERY_TILE, and both kinds of cache.
void attend(const Head &head, int64_t start, const Query *queries, int count, Partial *parts) {
    with_constant<QUERY_TILE>(count, [&](auto n) {
        if (head.keys8) attend<8, n>(head, start, queries, parts);
        else attend<16, n>(head, start, queries, parts);
    });
}

}  // namespace
