// Products with packed matrices. Every output is the same sum in the same order whatever the number of rows and
// threads: int32 within a group, exactly, and then group after group in float.
#pragma once

constexpr int64_t group = 64, lanes = 16;
// Rows of x from which a panel of weights is unpacked once for all of them; below, weights are unpacked in registers.
constexpr int64_t panel_from = 64;
constexpr int direct_rows = 8;
constexpr int64_t prefetch_distance = 4096;

#if defined(__GNUC__)
#define NOT_INLINED __attribute__((noinline))
#else
#define NOT_INLINED
#endif

inline void prefetch(const void *from, int64_t num_bytes) {
#if defined(__GNUC__)
    for (int64_t ahead = 0; ahead < num_bytes; ahead += 64) __builtin_prefetch((const char *)from + ahead);
#else
    (void)from, (void)num_bytes;
#endif
}

// int8 codes of some rows, one scale and one sum for each group.
struct Activations {
    int64_t num_groups;
    int8_t *codes;
    float *scales;
    int32_t *sums;
};

// body(0), body(1), ... with constants, so that arrays indexed by them live in registers.
template <class Body, int... i> inline void each(Body body, std::integer_sequence<int, i...>) {
    (body(std::integral_constant<int, i>()), ...);
}
template <int count, class Body> inline void each(Body body) { each(body, std::make_integer_sequence<int, count>()); }

inline int64_t round_up(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

static void quantize_group(const float *x, int64_t count, int8_t *codes, float *scale, int32_t *sum_of_codes) {
    float padded[group];
    if (count < group) {
        for (int64_t i = 0; i < group; i++) padded[i] = i < count ? x[i] : 0;
        x = padded;
    }
    Floats most = zeros(), total = zeros();
    for (int64_t i = 0; i < group; i += lanes) most = max(most, abs(load(x + i)));
    *scale = max(most) / 127;
    const Floats inverse = all(*scale >= FLT_MIN ? 1 / *scale : 0);  // of less there is no finite inverse
    for (int64_t i = 0; i < group; i += lanes) {
        const Floats rounded = round(mul(load(x + i), inverse));
        store_int8(codes + i, rounded);
        total = add(total, rounded);
    }
    *sum_of_codes = (int32_t)sum(total);
}

static void quantize_row(const float *x, int64_t count, const Activations &to, int64_t row) {
    for (int64_t g = 0; g < to.num_groups; g++) {
        const int64_t at = row * to.num_groups + g;
        const int64_t left = count - g * group;
        quantize_group(x + g * group, left < group ? left : group, to.codes + at * group, to.scales + at, to.sums + at);
    }
}

template <int64_t bits> inline const uint8_t *block_codes(const qwen7b_matrix &m, int64_t block, int64_t num_groups) {
    return m.codes + block * num_groups * (lanes * group * bits / 8);
}

// A few blocks of 16 outputs for `count` rows of x: sums[row][block]. Weights are unpacked in registers.
template <int64_t bits, int blocks, int count>
static void multiply_directly(const qwen7b_matrix &m, int64_t block, const Activations &x, int64_t row, Floats (*sums)[blocks]) {
    constexpr int64_t step = lanes * group * bits / 8;
    const int64_t num_groups = x.num_groups, stride = num_groups * group;
    const uint8_t *codes = block_codes<bits>(m, block, num_groups);
    const uint16_t *scales = m.scales + block * num_groups * lanes;
    const Table table = bits == 4 ? load_table(m.codebook) : Table{};
    const int8_t *x_codes = x.codes + row * stride;
    const float *x_scales = x.scales + row * num_groups;
    const int32_t *x_sums = x.sums + row * num_groups;
    Floats totals[count][blocks];
    each<count>([&](auto r) { each<blocks>([&](auto b) { totals[r][b] = zeros(); }); });
    for (int64_t g = 0; g < num_groups; g++, codes += step, scales += lanes) {
        Ints dots[count][blocks];
        each<count>([&](auto r) { each<blocks>([&](auto b) { dots[r][b] = start(x_sums[r * num_groups + g]); }); });
        each<blocks>([&](auto b) { prefetch(codes + b * num_groups * step + prefetch_distance, step); });
        const int8_t *inputs = x_codes + g * group;
        for (int64_t quad = 0; quad < group; quad += 32 / bits) {
            Codes low[blocks], high[blocks];
            each<blocks>([&](auto b) {
                const uint8_t *from = codes + b * num_groups * step + quad * lanes * bits / 8;
                if constexpr (bits == 4) load_codes(from, table, low[b], high[b]);
                else low[b] = load_codes(from);
            });
            each<count>([&](auto r) {
                each<blocks>([&](auto b) { dots[r][b] = dot(dots[r][b], low[b], inputs + r * stride + quad); });
                if constexpr (bits == 4)
                    each<blocks>([&](auto b) { dots[r][b] = dot(dots[r][b], high[b], inputs + r * stride + quad + 4); });
            });
        }
        each<blocks>([&](auto b) {
            const Floats weight_scales = load_half(scales + b * num_groups * lanes);
            each<count>([&](auto r) {
                totals[r][b] = fma(to_floats(dots[r][b]), mul(weight_scales, all(x_scales[r * num_groups + g])), totals[r][b]);
            });
        });
    }
    each<count>([&](auto r) { each<blocks>([&](auto b) { sums[r][b] = totals[r][b]; }); });
}

// The same for any number of rows up to direct_rows.
template <int64_t bits, int blocks>
static void multiply_directly(const qwen7b_matrix &m, int64_t block, const Activations &x, int64_t row, int count,
                              Floats (*sums)[blocks]) {
    switch (count) {
    case 1: return multiply_directly<bits, blocks, 1>(m, block, x, row, sums);
    case 2: return multiply_directly<bits, blocks, 2>(m, block, x, row, sums);
    case 3: return multiply_directly<bits, blocks, 3>(m, block, x, row, sums);
    case 4: return multiply_directly<bits, blocks, 4>(m, block, x, row, sums);
    case 5: return multiply_directly<bits, blocks, 5>(m, block, x, row, sums);
    case 6: return multiply_directly<bits, blocks, 6>(m, block, x, row, sums);
    case 7: return multiply_directly<bits, blocks, 7>(m, block, x, row, sums);
    default: return multiply_directly<bits, blocks, 8>(m, block, x, row, sums);
    }
}

// Some blocks as bytes ready for dot(): (group, quad, block, 64).
template <int64_t bits, int blocks>
static void unpack_panel(const qwen7b_matrix &m, int64_t block, int64_t num_groups, uint8_t *panel) {
    const Table table = bits == 4 ? load_table(m.codebook) : Table{};
    for (int b = 0; b < blocks; b++) {
        const uint8_t *codes = block_codes<bits>(m, block + b, num_groups);
        uint8_t *to = panel + b * 64;
        for (int64_t quad = 0; quad < num_groups * group / 4; quad += bits == 4 ? 2 : 1) {
            if constexpr (bits == 4) {
                Codes low, high;
                load_codes(codes + quad * 32, table, low, high);
                store_panel(to + quad * blocks * 64, low);
                store_panel(to + (quad + 1) * blocks * 64, high);
            } else {
                store_panel(to + quad * blocks * 64, load_codes(codes + quad * 64));
            }
        }
    }
}

template <int blocks, int count>
NOT_INLINED static void multiply_panel(const qwen7b_matrix &m, int64_t block, const uint8_t *panel, const Activations &x,
                                       int64_t row, Floats (*sums)[blocks]) {
    const int64_t num_groups = x.num_groups, stride = num_groups * group;
    const int8_t *x_codes = x.codes + row * stride;
    const float *x_scales = x.scales + row * num_groups;
    const int32_t *x_sums = x.sums + row * num_groups;
    const uint16_t *scales = m.scales + block * num_groups * lanes;
    Floats totals[count][blocks];
    each<count>([&](auto r) { each<blocks>([&](auto b) { totals[r][b] = zeros(); }); });
    for (int64_t g = 0; g < num_groups; g++) {
        Ints dots[count][blocks];
        each<count>([&](auto r) { each<blocks>([&](auto b) { dots[r][b] = start(x_sums[r * num_groups + g]); }); });
        for (int64_t quad = 0; quad < group; quad += 4, panel += blocks * 64) {
            Codes codes[blocks];
            each<blocks>([&](auto b) { codes[b] = load_panel(panel + b * 64); });
            each<count>([&](auto r) {
                each<blocks>([&](auto b) { dots[r][b] = dot(dots[r][b], codes[b], x_codes + r * stride + g * group + quad); });
            });
        }
        each<blocks>([&](auto b) {
            const Floats weight_scales = load_half(scales + (b * num_groups + g) * lanes);
            each<count>([&](auto r) {
                totals[r][b] = fma(to_floats(dots[r][b]), mul(weight_scales, all(x_scales[r * num_groups + g])), totals[r][b]);
            });
        });
    }
    each<count>([&](auto r) { each<blocks>([&](auto b) { sums[r][b] = totals[r][b]; }); });
}

// Blocks first..first+blocks of the outputs of all rows of x: emit(row, block, sums) for each.
template <int64_t bits, int blocks, class Emit>
static void multiply_through_panel(const qwen7b_matrix &m, int64_t block, const Activations &x, int64_t num_rows,
                                   uint8_t *panel, Emit emit) {
    unpack_panel<bits, blocks>(m, block, x.num_groups, panel);
    int64_t row = 0;
    for (; row + panel_rows <= num_rows; row += panel_rows) {
        Floats sums[panel_rows][blocks];
        multiply_panel<blocks, panel_rows>(m, block, panel, x, row, sums);
        for (int r = 0; r < panel_rows; r++)
            for (int b = 0; b < blocks; b++) emit(row + r, block + b, sums[r][b]);
    }
    for (; row < num_rows; row++) {
        Floats sums[1][blocks];
        multiply_panel<blocks, 1>(m, block, panel, x, row, sums);
        for (int b = 0; b < blocks; b++) emit(row, block + b, sums[0][b]);
    }
}

template <int64_t bits, int blocks, class Emit>
static void multiply_few(const qwen7b_matrix &m, int64_t block, const Activations &x, int64_t num_rows, Emit emit) {
    for (int64_t row = 0; row < num_rows; row += direct_rows) {
        Floats sums[direct_rows][blocks];
        const int count = (int)(num_rows - row < direct_rows ? num_rows - row : direct_rows);
        multiply_directly<bits, blocks>(m, block, x, row, count, sums);
        for (int r = 0; r < count; r++)
            for (int b = 0; b < blocks; b++) emit(row + r, block + b, sums[r][b]);
    }
}

template <int64_t bits, class Emit>
static void multiply_blocks(const qwen7b_matrix &m, int64_t first, int64_t last, const Activations &x, int64_t num_rows,
                            uint8_t *panel, Emit emit) {
    if (num_rows >= panel_from) {
        int64_t block = first;
        for (; block + panel_blocks <= last; block += panel_blocks)
            multiply_through_panel<bits, panel_blocks>(m, block, x, num_rows, panel, emit);
        for (; block < last; block++) multiply_through_panel<bits, 1>(m, block, x, num_rows, panel, emit);
        return;
    }
    int64_t block = first;
    if (num_rows > 2)  // several blocks share what is read of x
        for (; block + direct_blocks <= last; block += direct_blocks)
            multiply_few<bits, direct_blocks>(m, block, x, num_rows, emit);
    for (; block < last; block++) multiply_few<bits, 1>(m, block, x, num_rows, emit);
}

// emit(row, block, sums) for blocks first..last of the matrix and all rows of x.
template <class Emit>
static void multiply(const qwen7b_matrix &m, int64_t first, int64_t last, const Activations &x, int64_t num_rows,
                     uint8_t *panel, Emit emit) {
    if (m.bits == 4) multiply_blocks<4>(m, first, last, x, num_rows, panel, emit);
    else multiply_blocks<8>(m, first, last, x, num_rows, panel, emit);
}

inline int64_t num_blocks(const qwen7b_matrix &m) { return (m.rows + lanes - 1) / lanes; }

// Blocks that a thread takes at once: about 128 KB of codes when decoding, a panel when not.
inline int64_t grain_of(const qwen7b_matrix &m, int64_t num_rows) {
    if (num_rows >= panel_from) return panel_blocks;
    const int64_t bytes = lanes * m.columns * m.bits / 8;
    return bytes >= (1 << 17) ? 1 : (1 << 17) / bytes;
}

static void store_part(float *to, int64_t count, Floats value) {
    if (count >= lanes) return store(to, value);
    float spread[lanes];
    store(spread, value);
    for (int64_t i = 0; i < count; i++) to[i] = spread[i];
}

static Floats load_part(const float *from, int64_t count) {
    if (count >= lanes) return load(from);
    float spread[lanes] = {};
    for (int64_t i = 0; i < count; i++) spread[i] = from[i];
    return load(spread);
}
