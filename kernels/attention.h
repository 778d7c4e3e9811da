// Attention over the cache. Positions are taken in chunks whose bounds depend on nothing but the position, each with
// a softmax of its own, merged in order: so a row's result depends neither on threads nor on what is beside it.
// After https://arxiv.org/abs/2112.05682 and https://arxiv.org/abs/2205.14135.
#pragma once

constexpr int64_t chunk = 128, max_head_size = 256;
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
    uint16_t *keys16, *values16, *key_scales, *value_scales;
};

static Head head_of(const qwen7b_cache &cache, int64_t layer, int64_t sequence, int64_t kv_head, int64_t head_size) {
    const int64_t at = layer * cache.layer_stride + sequence * cache.sequence_stride + kv_head * cache.head_stride;
    const int64_t scale = layer * cache.scale_layer_stride + sequence * cache.scale_sequence_stride + kv_head * cache.scale_head_stride;
    if (cache.bits == 16) return {head_size, 0, 0, (uint16_t *)cache.keys + at, (uint16_t *)cache.values + at, 0, 0};
    return {head_size, (int8_t *)cache.keys + at, (int8_t *)cache.values + at, 0, 0, cache.key_scales + scale, cache.value_scales + scale};
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

static void write_key_value(const Head &head, int64_t position, const float *key, const float *value) {
    const int64_t size = head.head_size, block = position / lanes, lane = position % lanes;
    if (!head.keys8) {
        uint16_t halves[max_head_size];
        for (int64_t d = 0; d < size; d += lanes) {
            store_half(halves + d, load(key + d));
            store_half(head.values16 + position * size + d, load(value + d));
        }
        for (int64_t d = 0; d < size; d++) head.keys16[(block * size + d) * lanes + lane] = halves[d];
        return;
    }
    const int64_t span = scale_span(size), spans = size / span;
    int8_t codes[max_head_size];
    for (int64_t s = 0; s < spans; s++) {
        quantize_span(key + s * span, span, codes + s * span, head.key_scales + (block * spans + s) * lanes + lane);
        quantize_span(value + s * span, span, head.values8 + position * size + s * span, head.value_scales + (block * spans + s) * lanes + lane);
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

// A query, scaled, and the positions that it sees: first up to last.
struct Query {
    const float *vector;
    int64_t first, last;
};

// Of `count` queries, the parts that positions start..start+chunk give.
template <int bits, int count>
static void attend(const Head &head, int64_t start, const Query *queries, Partial *parts) {
    const int64_t size = head.head_size, span = scale_span(size), spans = size / span;
    int64_t from = start + chunk, to = start;
    for (int q = 0; q < count; q++) {
        from = queries[q].first < from ? queries[q].first : from;
        to = queries[q].last > to ? queries[q].last : to;
    }
    from = from > start ? from / lanes * lanes : start;
    to = to < start + chunk ? to : start + chunk;
    alignas(64) float scores[count][chunk], weights[count][chunk];
    Floats most[count];
    const float *vectors[count];
    each<count>([&](auto q) { most[q] = all(-INFINITY), vectors[q] = queries[q].vector; });
    for (int64_t position = from; position < to; position += lanes) {
        const int64_t block = position / lanes;
        Floats dots[count];
        each<count>([&](auto q) { dots[q] = zeros(); });
        for (int64_t s = 0; s < spans; s++) {
            const Floats scale = bits == 8 ? load_half(head.key_scales + (block * spans + s) * lanes) : zeros();
            for (int64_t d = s * span; d < (s + 1) * span; d++) {
                Floats key;
                if constexpr (bits == 8) key = mul(load_int8(head.keys8 + (block * size + d) * lanes), scale);
                else key = load_half(head.keys16 + (block * size + d) * lanes);
                each<count>([&](auto q) { dots[q] = fma(key, all(vectors[q][d]), dots[q]); });
            }
        }
        each<count>([&](auto q) {
            float *row = scores[q] + (position - start);
            store(row, dots[q]);
            if (position < queries[q].first || position + lanes > queries[q].last)
                for (int64_t i = 0; i < lanes; i++)
                    if (position + i < queries[q].first || position + i >= queries[q].last) row[i] = -INFINITY;
            most[q] = max(most[q], load(row));
        });
    }
    for (int q = 0; q < count; q++) {
        parts[q].most = max(most[q]);
        const Floats highest = all(parts[q].most == -INFINITY ? 0 : parts[q].most);
        Floats total = zeros();
        for (int64_t i = from - start; i < to - start; i += lanes) {
            const Floats weight = exponential(sub(load(scores[q] + i), highest));
            store(scores[q] + i, weight);
            total = add(total, weight);
        }
        parts[q].total = sum(total);
    }
    for (int64_t s = 0; s < spans; s++) {
        float(*used)[chunk] = scores;
        if constexpr (bits == 8) {
            for (int64_t i = from - start; i < to - start; i += lanes) {
                const Floats scale = load_half(head.value_scales + ((start + i) / lanes * spans + s) * lanes);
                for (int q = 0; q < count; q++) store(weights[q] + i, mul(load(scores[q] + i), scale));
            }
            used = weights;
        }
        for (int64_t d = s * span; d < (s + 1) * span; d += lanes) {
            Floats mixed[count];
            each<count>([&](auto q) { mixed[q] = zeros(); });
            for (int64_t position = from; position < to; position++) {
                Floats value;
                if constexpr (bits == 8) value = load_int8(head.values8 + position * size + d);
                else value = load_half(head.values16 + position * size + d);
                each<count>([&](auto q) { mixed[q] = fma(value, all(used[q][position - start]), mixed[q]); });
            }
            each<count>([&](auto q) { store(parts[q].mixed + d, mixed[q]); });
        }
    }
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
