// Attention over the cache. Positions are taken in chunks whose bounds depend on nothing but the position, each with
// a softmax of its own, merged in order: so a row's result depends neither on threads nor on what is beside it.
// After https://arxiv.org/abs/2112.05682 and https://arxiv.org/abs/2205.14135.
#pragma once

constexpr int64_t chunk = 128, max_head_size = 256, wide = 8;
constexpr int query_tile = 8;

inline int64_t scale_span(int64_t head_size) { return head_size % 32 ? 16 : 32; }

static Floats exponential(Floats x) {  // 2^n · e^r with |r| <= ln 2 / 2; Cephes' polynomial
    x = max(x, all(-88.0f));  // where the result is 0
    const Floats n = round(mul(x, all(1.44269504f)));
    Floats r = fma(n, all(-0.693359375f), x);
    r = fma(n, all(2.12194440e-4f), r);
    Floats p = all(1.9875691500e-4f);
    p = fma(p, r, all(1.3981999507e-3f));
    p = fma(p, r, all(8.3334519073e-3f));
    p = fma(p, r, all(4.1665795894e-2f));
    p = fma(p, r, all(1.6666665459e-1f));
    p = fma(p, r, all(5.0000001201e-1f));
    p = add(fma(mul(r, r), p, r), all(1));
    return mul(p, power_of_two(n));
}

// One sequence's keys and values under one key-value head.
struct Head {
    int64_t head_size;
    int8_t *keys8, *values8;
    uint16_t *keys16, *values16, *key_scales, *value_scales, *wide_keys;
    const float *balance;
    const int32_t *wide_axes;
};

static Head head_of(const qwen7b_cache &cache, int64_t layer, int64_t sequence, int64_t kv_head, int64_t num_kv_heads,
                    int64_t head_size) {
    const qwen7b_cache_layer &l = cache.layers[layer];
    const int64_t slots = round_up(l.num_slots, lanes), before = (sequence * num_kv_heads + kv_head) * slots;
    const int64_t at = before * head_size, scale = before * (head_size / scale_span(head_size));
    if (cache.bits == 16) return {head_size, 0, 0, (uint16_t *)l.keys + at, (uint16_t *)l.values + at, 0, 0, 0, 0, 0};
    return {head_size, (int8_t *)l.keys + at, (int8_t *)l.values + at, 0, 0, l.key_scales + scale, l.value_scales + scale,
            l.wide_keys + before * wide, l.balance + kv_head * head_size, l.wide_axes + kv_head * wide};
}

// `span` numbers as int8 codes and the float16 scale they are to be read with.
static void quantize_span(const float *x, int64_t span, int8_t *codes, uint16_t *scale) {
    Floats most = zeros();
    for (int64_t i = 0; i < span; i += lanes) most = max(most, abs(load(x + i)));
    uint16_t halves[lanes];
    store_half(halves, all(max(most) / 127));
    *scale = halves[0];
    const Floats held = load_half(halves);
    float number[lanes];
    store(number, held);
    const Floats inverse = all(number[0] > 0 ? 1 / number[0] : 0), bound = all(127);
    for (int64_t i = 0; i < span; i += lanes)
        store_int8(codes + i, max(min(mul(load(x + i), inverse), bound), all(-127)));
}

static void write_key_value(const Head &head, int64_t slot, const float *key, const float *value) {
    const int64_t size = head.head_size, block = slot / lanes, lane = slot % lanes;
    if (!head.keys8) {
        uint16_t halves[max_head_size];
        for (int64_t d = 0; d < size; d += lanes) {
            store_half(halves + d, load(key + d));
            store_half(head.values16 + slot * size + d, load(value + d));
        }
        for (int64_t d = 0; d < size; d++) head.keys16[(block * size + d) * lanes + lane] = halves[d];
        return;
    }
    float balanced[max_head_size], outliers[lanes] = {};
    uint16_t halves[lanes];
    for (int64_t d = 0; d < size; d += lanes) store(balanced + d, div(load(key + d), load(head.balance + d)));
    for (int64_t e = 0; e < wide; e++) {
        outliers[e] = balanced[head.wide_axes[e]];
        balanced[head.wide_axes[e]] = 0;
    }
    store_half(halves, load(outliers));
    for (int64_t e = 0; e < wide; e++) head.wide_keys[(block * wide + e) * lanes + lane] = halves[e];
    const int64_t span = scale_span(size), spans = size / span;
    int8_t codes[max_head_size];
    for (int64_t s = 0; s < spans; s++) {
        quantize_span(balanced + s * span, span, codes + s * span, head.key_scales + (block * spans + s) * lanes + lane);
        quantize_span(value + s * span, span, head.values8 + slot * size + s * span, head.value_scales + (block * spans + s) * lanes + lane);
    }
    for (int64_t d = 0; d < size; d++) head.keys8[(block * size + d) * lanes + lane] = codes[d];
}

// Softmax-weighted values of some positions: their largest score, the sum of exponentials below it, and the mixture.
struct Partial {
    float most, total;
    float mixed[max_head_size];
};

static void merge(Partial &into, const Partial &next, int64_t head_size) {
    if (next.most == -INFINITY) return;
    const float most = into.most > next.most ? into.most : next.most;
    float weights[lanes] = {into.most - most, next.most - most};
    store(weights, exponential(load(weights)));
    into.most = most;
    into.total = into.total * weights[0] + next.total * weights[1];
    for (int64_t d = 0; d < head_size; d += lanes)
        store(into.mixed + d, fma(load(next.mixed + d), all(weights[1]), mul(load(into.mixed + d), all(weights[0]))));
}

// A query, scaled and for int8 keys balanced, and the positions, or slots, that it sees: first up to last.
struct Query {
    const float *vector;
    int64_t first, last;
};

// Several sums go on side by side, or each would wait for the one before it; fewer where there are many queries.
template <int count> constexpr int abreast = count == 1 ? 4 : count < 4 ? 2 : 1;

// scores[q] of the positions in `blocks` blocks.
template <int bits, int count, int blocks>
static void score(const Head &head, int64_t block, const float *const *vectors, float *const *scores) {
    const int64_t size = head.head_size, span = scale_span(size), spans = size / span;
    Floats totals[count][blocks];
    each<count>([&](auto q) { each<blocks>([&](auto b) { totals[q][b] = zeros(); }); });
    for (int64_t s = 0; s < spans; s++) {
        Floats sums[count][blocks];
        each<count>([&](auto q) { each<blocks>([&](auto b) { sums[q][b] = zeros(); }); });
        for (int64_t d = s * span; d < (s + 1) * span; d++) {
            Floats keys[blocks];
            each<blocks>([&](auto b) {
                const int64_t at = ((block + b) * size + d) * lanes;
                if constexpr (bits == 8) keys[b] = load_int8(head.keys8 + at);
                else keys[b] = load_half(head.keys16 + at);
            });
            each<count>([&](auto q) {
                const Floats number = all(vectors[q][d]);
                each<blocks>([&](auto b) { sums[q][b] = fma(keys[b], number, sums[q][b]); });
            });
        }
        each<blocks>([&](auto b) {  // the values of these positions come next
            const int64_t at = ((block + b) * size + s * span) * lanes;
            if constexpr (bits == 8) prefetch(head.values8 + at, span * lanes);
            else prefetch(head.values16 + at, 2 * span * lanes);
            const Floats scale = bits == 8 ? load_half(head.key_scales + ((block + b) * spans + s) * lanes) : all(1);
            each<count>([&](auto q) { totals[q][b] = fma(sums[q][b], scale, totals[q][b]); });
        });
    }
    if constexpr (bits == 8)
        for (int64_t e = 0; e < wide; e++)
            each<blocks>([&](auto b) {
                const Floats keys = load_half(head.wide_keys + ((block + b) * wide + e) * lanes);
                each<count>([&](auto q) { totals[q][b] = fma(keys, all(vectors[q][head.wide_axes[e]]), totals[q][b]); });
            });
    each<count>([&](auto q) { each<blocks>([&](auto b) { store(scores[q] + b * lanes, totals[q][b]); }); });
}

// parts[q].mixed from axis d on, `vectors` times 16 axes: the positions' values, weighted.
template <int bits, int count, int vectors>
static void mix(const Head &head, int64_t d, int64_t from, int64_t to, const float (*weights)[max_head_size / 16][chunk], Partial *parts) {
    const int64_t size = head.head_size, span = scale_span(size), start = from / chunk * chunk;
    Floats mixed[count][vectors];
    each<count>([&](auto q) { each<vectors>([&](auto v) { mixed[q][v] = zeros(); }); });
    for (int64_t position = from; position < to; position++) {
        if (d == 0) {  // and then the keys of the next chunk
            const int64_t ahead = (position + chunk) * size;
            if constexpr (bits == 8) prefetch(head.keys8 + ahead, size);
            else prefetch(head.keys16 + ahead, 2 * size);
        }
        Floats values[vectors];
        each<vectors>([&](auto v) {
            const int64_t at = position * size + d + v * lanes;
            if constexpr (bits == 8) values[v] = load_int8(head.values8 + at);
            else values[v] = load_half(head.values16 + at);
        });
        each<count>([&](auto q) {
            each<vectors>([&](auto v) {
                const int64_t s = bits == 8 ? (d + v * lanes) / span : 0;
                mixed[q][v] = fma(values[v], all(weights[q][s][position - start]), mixed[q][v]);
            });
        });
    }
    each<count>([&](auto q) { each<vectors>([&](auto v) { store(parts[q].mixed + d + v * lanes, mixed[q][v]); }); });
}

// Of `count` queries, the parts that positions start..start+chunk give.
template <int bits, int count>
static void attend(const Head &head, int64_t start, const Query *queries, Partial *parts) {
    const int64_t size = head.head_size, spans = size / scale_span(size);
    int64_t from = start + chunk, to = start;
    for (int q = 0; q < count; q++) {
        from = queries[q].first < from ? queries[q].first : from;
        to = queries[q].last > to ? queries[q].last : to;
    }
    from = from > start ? from / lanes * lanes : start;
    to = to < start + chunk ? to : start + chunk;

    alignas(64) float weights[count][max_head_size / 16][chunk];  // one copy for each span of scales
    const float *vectors[count];
    for (int q = 0; q < count; q++) vectors[q] = queries[q].vector;
    constexpr int blocks = abreast<count>;
    for (int64_t position = from; position < to;) {
        float *scores[count];
        for (int q = 0; q < count; q++) scores[q] = weights[q][0] + (position - start);
        if (position + blocks * lanes <= to) {
            score<bits, count, blocks>(head, position / lanes, vectors, scores);
            position += blocks * lanes;
        } else {
            score<bits, count, 1>(head, position / lanes, vectors, scores);
            position += lanes;
        }
    }
    const int64_t end = round_up(to, lanes);
    for (int q = 0; q < count; q++) {
        float *scores = weights[q][0] - start;
        for (int64_t position = from; position < queries[q].first && position < end; position++) scores[position] = -INFINITY;
        for (int64_t position = queries[q].last > from ? queries[q].last : from; position < end; position++) scores[position] = -INFINITY;
        Floats most = all(-INFINITY), total = zeros();
        for (int64_t position = from; position < end; position += lanes) most = max(most, load(scores + position));
        parts[q].most = max(most);
        const Floats highest = all(parts[q].most == -INFINITY ? 0 : parts[q].most);
        for (int64_t position = from; position < end; position += lanes) {
            const Floats weight = exponential(sub(load(scores + position), highest));
            store(scores + position, weight);
            total = add(total, weight);
        }
        parts[q].total = sum(total);
        if (bits == 16) continue;
        for (int64_t position = from; position < end; position += lanes) {
            const Floats weight = load(scores + position);
            for (int64_t s = spans; s-- > 0;)
                store(weights[q][s] + (position - start), mul(weight, load_half(head.value_scales + (position / lanes * spans + s) * lanes)));
        }
    }
    int64_t d = 0;
    for (; d + blocks * lanes <= size; d += blocks * lanes) mix<bits, count, blocks>(head, d, from, to, weights, parts);
    for (; d < size; d += lanes) mix<bits, count, 1>(head, d, from, to, weights, parts);
}

template <int bits> static void attend(const Head &head, int64_t start, const Query *queries, int count, Partial *parts) {
    switch (count) {
    case 1: return attend<bits, 1>(head, start, queries, parts);
    case 2: return attend<bits, 2>(head, start, queries, parts);
    case 3: return attend<bits, 3>(head, start, queries, parts);
    case 4: return attend<bits, 4>(head, start, queries, parts);
    case 5: return attend<bits, 5>(head, start, queries, parts);
    case 6: return attend<bits, 6>(head, start, queries, parts);
    case 7: return attend<bits, 7>(head, start, queries, parts);
    default: return attend<bits, 8>(head, start, queries, parts);
    }
}

static void attend(const Head &head, int64_t start, const Query *queries, int count, Partial *parts) {
    if (head.keys8) attend<8>(head, start, queries, count, parts);
    else attend<16>(head, start, queries, count, parts);
}
