// The decoder's layers over the rows of one pass. Work is dealt out by rows, by blocks of outputs and by heads.
#pragma once

// Deals out a session's memory. Without a base it only counts how much is wanted.
struct Arena {
    uint8_t *base;
    int64_t used;
    template <class T> void take(T *&to, int64_t count) {
        to = (T *)(base + used);
        used += round_up(count * (int64_t)sizeof(T), 64);
    }
};

// Rows of one sequence whose attention is computed together.
struct Tile {
    int64_t row, num_rows;
};
constexpr int64_t tile_rows = 8;

struct Buffers {
    Activations x;
    float *normed, *qkv, *mixed, *hidden;
    uint8_t *panels;
    int64_t panel_size;
    Tile *tiles;
    Partial *parts;  // (row, head, chunk), where chunks are dealt out
};

static void take_activations(Arena &arena, Buffers &buffers, int64_t num_rows, int64_t columns, int num_threads) {
    const int64_t num_groups = (columns + group - 1) / group;
    buffers.x.num_groups = num_groups;
    arena.take(buffers.x.codes, num_rows * num_groups * group);
    arena.take(buffers.x.scales, num_rows * num_groups);
    arena.take(buffers.x.sums, num_rows * num_groups);
    buffers.panel_size = num_rows < panel_from ? 0 : panel_blocks * lanes * num_groups * group;
    arena.take(buffers.panels, buffers.panel_size * num_threads);
}

static Activations with_columns(Activations x, int64_t columns) {
    x.num_groups = (columns + group - 1) / group;
    return x;
}

static void normalize(const float *x, const float *weight, int64_t size, float epsilon, float *to) {
    Floats squares = zeros();
    for (int64_t i = 0; i < size; i += lanes) {
        const Floats part = load_part(x + i, size - i);
        squares = fma(part, part, squares);
    }
    const Floats scale = all(1 / sqrtf(sum(squares) / (float)size + epsilon));
    for (int64_t i = 0; i < size; i += lanes)
        store_part(to + i, size - i, mul(mul(load_part(x + i, size - i), scale), load_part(weight + i, size - i)));
}

// Turn the pairs (i, i + size/2) of a head by their angles and scale it.
static void rotate(float *head, int64_t size, const float *cosines, const float *sines, float scale) {
    const int64_t half = size / 2;
    for (int64_t i = 0; i < half; i += lanes) {
        const int64_t left = half - i;
        const Floats c = mul(load_part(cosines + i, left), all(scale)), s = mul(load_part(sines + i, left), all(scale));
        const Floats a = load_part(head + i, left), b = load_part(head + half + i, left);
        store_part(head + i, left, sub(mul(a, c), mul(b, s)));
        store_part(head + half + i, left, fma(b, c, mul(a, s)));
    }
}

struct Pass {
    const qwen7b_model &model;
    const qwen7b_cache &cache;
    const qwen7b_rows &rows;
    float *x;
    Buffers buffers;
    int64_t num_tiles, most_chunks;  // 0 chunks: each head goes through its chunks by itself

    int64_t qkv_size() const { return (model.num_heads + 2 * model.num_kv_heads) * model.head_size; }
    int64_t inner_size() const { return model.num_heads * model.head_size; }

    void lay_out(Arena &arena, int num_threads) {
        const int64_t n = rows.num_rows, hidden = model.hidden_size, inner = inner_size();
        const int64_t widest = model.feed_forward_size > hidden ? model.feed_forward_size : hidden;
        take_activations(arena, buffers, n, widest > inner ? widest : inner, num_threads);
        arena.take(buffers.normed, round_up(hidden, lanes) * num_threads);
        arena.take(buffers.qkv, n * qkv_size());
        arena.take(buffers.mixed, n * inner);
        arena.take(buffers.hidden, n * model.feed_forward_size);
        arena.take(buffers.tiles, n);
        arena.take(buffers.parts, n * model.num_heads * most_chunks);
    }

    void cut_tiles() {
        num_tiles = 0;
        for (int64_t row = 0; row < rows.num_rows; row++) {
            Tile *tile = num_tiles ? &buffers.tiles[num_tiles - 1] : nullptr;
            if (tile && rows.sequences[tile->row] == rows.sequences[row] && tile->num_rows < tile_rows) tile->num_rows++;
            else buffers.tiles[num_tiles++] = {row, 1};
        }
    }

    void quantize(Team &team, const float *from, int64_t columns) {
        team.share(rows.num_rows, 1, [&](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; row++)
                quantize_row(from + row * columns, columns, with_columns(buffers.x, columns), row);
        });
    }

    void normalize_and_quantize(Team &team, int thread, const float *weight) {
        const int64_t size = model.hidden_size;
        float *normed = buffers.normed + thread * round_up(size, lanes);
        team.share(rows.num_rows, 1, [&](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; row++) {
                normalize(x + row * size, weight, size, model.norm_epsilon, normed);
                quantize_row(normed, size, with_columns(buffers.x, size), row);
            }
        });
    }

    template <class Emit> void product(Team &team, int thread, const qwen7b_matrix &m, Emit emit) {
        uint8_t *panel = buffers.panels + thread * buffers.panel_size;
        const Activations input = with_columns(buffers.x, m.columns);
        team.share(num_blocks(m), grain_of(m, rows.num_rows), [&](int64_t first, int64_t last) {
            multiply(m, first, last, input, rows.num_rows, panel, emit);
        });
    }

    void add_product(Team &team, int thread, const qwen7b_matrix &m) {
        product(team, thread, m, [&](int64_t row, int64_t block, Floats sums) {
            float *to = x + row * m.rows + block * lanes;
            const int64_t left = m.rows - block * lanes;
            store_part(to, left, add(load_part(to, left), sums));
        });
    }

    void feed_forward(Team &team, int thread, const qwen7b_layer &layer) {
        normalize_and_quantize(team, thread, layer.feed_forward_norm);
        uint8_t *panel = buffers.panels + thread * buffers.panel_size;
        const Activations input = with_columns(buffers.x, model.hidden_size);
        const int64_t n = rows.num_rows, size = model.feed_forward_size;
        team.share(num_blocks(layer.gate), grain_of(layer.gate, n), [&](int64_t first, int64_t last) {
            multiply(layer.gate, first, last, input, n, panel, [&](int64_t row, int64_t block, Floats sums) {
                store_part(buffers.hidden + row * size + block * lanes, size - block * lanes, sums);
            });
            multiply(layer.up, first, last, input, n, panel, [&](int64_t row, int64_t block, Floats sums) {
                float *at = buffers.hidden + row * size + block * lanes;
                const Floats gate = load_part(at, size - block * lanes);
                const Floats power = min(sub(zeros(), gate), all(88));  // beyond which e^x is no float
                const Floats silu = div(gate, add(all(1), exponential(power)));
                store_part(at, size - block * lanes, mul(silu, sums));
            });
        });
        quantize(team, buffers.hidden, size);
        add_product(team, thread, layer.down);
    }

    void attention(Team &team, int thread, int64_t index, const qwen7b_layer &layer) {
        normalize_and_quantize(team, thread, layer.attention_norm);
        const int64_t qkv_columns = qkv_size();
        product(team, thread, layer.qkv, [&](int64_t row, int64_t block, Floats sums) {
            const int64_t at = block * lanes, left = qkv_columns - at;
            if (layer.qkv.bias) sums = add(sums, load_part(layer.qkv.bias + at, left));
            store_part(buffers.qkv + row * qkv_columns + at, left, sums);
        });
        place_heads(team, index);
        mix_heads(team, index);
        quantize(team, buffers.mixed, inner_size());
        add_product(team, thread, layer.output);
    }

    // Turn queries and keys by their positions, and put keys and values into the cache.
    void place_heads(Team &team, int64_t index) {
        const int64_t size = model.head_size, kv_heads = model.num_kv_heads, sharing = model.num_heads / kv_heads;
        team.share(rows.num_rows * kv_heads, 4, [&](int64_t first, int64_t last) {
            for (int64_t item = first; item < last; item++) {
                const int64_t row = item / kv_heads, kv_head = item % kv_heads;
                float *qkv = buffers.qkv + row * qkv_size();
                const float *cosines = rows.cosines + row * size / 2, *sines = rows.sines + row * size / 2;
                const float scale = (rows.query_scales ? rows.query_scales[row] : 1) / sqrtf((float)size);
                const Head head = head_of(cache, index, rows.sequences[row], kv_head, kv_heads, size);
                for (int64_t h = 0; h < sharing; h++) {
                    float *query = qkv + (kv_head * sharing + h) * size;
                    rotate(query, size, cosines, sines, scale);
                    if (head.balance)
                        for (int64_t d = 0; d < size; d += lanes) store(query + d, mul(load(query + d), load(head.balance + d)));
                }
                float *key = qkv + (model.num_heads + kv_head) * size;
                rotate(key, size, cosines, sines, 1);
                write_key_value(head, rows.positions[row] % cache.layers[index].num_slots, key, key + kv_heads * size);
            }
        });
    }

    // The queries of a tile under one key-value head: of row after row, head after head.
    Query query_of(const Tile &tile, int64_t kv_head, int64_t number, int64_t window) const {
        const int64_t sharing = model.num_heads / model.num_kv_heads, row = tile.row + number / sharing;
        const int64_t end = rows.positions[row] + 1;
        return {buffers.qkv + row * qkv_size() + (kv_head * sharing + number % sharing) * model.head_size,
                window && end > window ? end - window : 0, end};
    }

    int64_t head_number(const Tile &tile, int64_t kv_head, int64_t number) const {  // row · num_heads + head
        const int64_t sharing = model.num_heads / model.num_kv_heads;
        return (tile.row + number / sharing) * model.num_heads + kv_head * sharing + number % sharing;
    }

    void finish(const Partial &part, int64_t head) {
        const Floats inverse = all(1 / part.total);
        for (int64_t d = 0; d < model.head_size; d += lanes)
            store(buffers.mixed + head * model.head_size + d, mul(load(part.mixed + d), inverse));
    }

    void mix_heads(Team &team, int64_t index) {
        const int64_t window = cache.layers[index].window, num_slots = cache.layers[index].num_slots;
        const int64_t size = model.head_size, kv_heads = model.num_kv_heads, sharing = model.num_heads / kv_heads;
        const int64_t chunks = most_chunks ? most_chunks : 1;
        team.share(num_tiles * kv_heads * chunks, 1, [&](int64_t item, int64_t) {
            const Tile &tile = buffers.tiles[item / chunks / kv_heads];
            const int64_t kv_head = item / chunks % kv_heads;
            const Head head = head_of(cache, index, rows.sequences[tile.row], kv_head, kv_heads, size);
            for (int64_t number = 0; number < tile.num_rows * sharing; number += query_tile) {
                const int64_t left = tile.num_rows * sharing - number;
                const int count = (int)(left < query_tile ? left : query_tile);
                Query queries[query_tile];
                Partial parts[query_tile], whole[query_tile];
                int64_t first = INT64_MAX, last = 0;
                for (int q = 0; q < count; q++) {
                    queries[q] = query_of(tile, kv_head, number + q, window);
                    first = queries[q].first < first ? queries[q].first : first;
                    last = queries[q].last > last ? queries[q].last : last;
                }
                int64_t from = first / chunk, to = (last + chunk - 1) / chunk;
                if (most_chunks) {
                    const int64_t mine = item % chunks;
                    if (mine < from || mine >= to) continue;
                    from = mine, to = mine + 1;
                }
                for (int64_t c = from; c < to; c++) {
                    const int64_t slot = c * chunk % num_slots, wound = c * chunk - slot;
                    Query seen[query_tile];
                    for (int q = 0; q < count; q++) seen[q] = {queries[q].vector, queries[q].first - wound, queries[q].last - wound};
                    attend(head, slot, seen, count, parts);
                    for (int q = 0; q < count; q++) {
                        if (most_chunks) buffers.parts[head_number(tile, kv_head, number + q) * chunks + c] = parts[q];
                        else if (c == from) whole[q] = parts[q];
                        else merge(whole[q], parts[q], size);
                    }
                }
                if (!most_chunks)
                    for (int q = 0; q < count; q++) finish(whole[q], head_number(tile, kv_head, number + q));
            }
        });
        if (!most_chunks) return;
        team.share(rows.num_rows * model.num_heads, 1, [&](int64_t item, int64_t) {
            const int64_t end = rows.positions[item / model.num_heads] + 1;
            const int64_t from = (window && end > window ? end - window : 0) / chunk, to = (end + chunk - 1) / chunk;
            Partial &whole = buffers.parts[item * chunks + from];
            for (int64_t c = from + 1; c < to; c++) merge(whole, buffers.parts[item * chunks + c], size);
            finish(whole, item);
        });
    }
};

static void run_layers(const qwen7b_model &model, const qwen7b_cache &cache, const qwen7b_rows &rows, int64_t first,
                       int64_t last, float *x) {
    Session session;
    const int num_threads = session.num_threads();
    Pass pass{model, cache, rows, x, {}, 0, 0};
    // With fewer heads than keep the threads busy, chunks of positions are dealt out as well.
    int64_t longest = 0;
    for (int64_t row = 0; row < rows.num_rows; row++)
        longest = rows.positions[row] >= longest ? rows.positions[row] + 1 : longest;
    if (num_threads > 1 && rows.num_rows * model.num_kv_heads < 4 * num_threads) pass.most_chunks = (longest + chunk - 1) / chunk;
    Arena counting{nullptr, 0};
    pass.lay_out(counting, num_threads);
    Arena arena{session.memory(counting.used), 0};
    pass.lay_out(arena, num_threads);
    pass.cut_tiles();
    session.run([&](Team &team, int thread) {
        for (int64_t index = first; index < last; index++) {
            pass.attention(team, thread, index, model.layers[index]);
            pass.feed_forward(team, thread, model.layers[index]);
        }
    });
}

static void linear(const qwen7b_matrix &m, const float *x, int64_t num_rows, float *y) {
    Session session;
    Buffers buffers{};
    Arena counting{nullptr, 0};
    take_activations(counting, buffers, num_rows, m.columns, session.num_threads());
    Arena arena{session.memory(counting.used), 0};
    take_activations(arena, buffers, num_rows, m.columns, session.num_threads());
    session.run([&](Team &team, int thread) {
        team.share(num_rows, 1, [&](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; row++) quantize_row(x + row * m.columns, m.columns, buffers.x, row);
        });
        uint8_t *panel = buffers.panels + thread * buffers.panel_size;
        team.share(num_blocks(m), grain_of(m, num_rows), [&](int64_t first, int64_t last) {
            multiply(m, first, last, buffers.x, num_rows, panel, [&](int64_t row, int64_t block, Floats sums) {
                const int64_t at = block * lanes, left = m.rows - at;
                if (m.bias) sums = add(sums, load_part(m.bias + at, left));
                store_part(y + row * m.rows + at, left, sums);
            });
        });
    });
}
