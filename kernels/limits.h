// What one thread can read and multiply at most; qwen7b_measure_* time it on all threads.
#pragma once

constexpr int chains = panel_blocks * panel_rows;

NOT_INLINED static void multiply_on(int64_t iterations, Codes codes, const int8_t *four, Ints *sums) {
    Ints held[chains];
    each<chains>([&](auto i) { held[i] = sums[i]; });
    for (int64_t n = 0; n < iterations; n++) each<chains>([&](auto i) { held[i] = dot(held[i], codes, four); });
    each<chains>([&](auto i) { sums[i] = held[i]; });
}

static int64_t count_int8(int64_t iterations) {
    alignas(64) uint8_t bytes[64] = {1};
    const int8_t four[4] = {1, 2, 3, 4};
    Ints sums[chains] = {};
    multiply_on(iterations, load_codes(bytes), four, sums);
    volatile float used = sum(to_floats(sums[0]));
    (void)used;
    return iterations * chains * 64 * 2;
}

static float read_all(const uint8_t *data, int64_t num_bytes) {
    Floats sums[4] = {zeros(), zeros(), zeros(), zeros()};
    for (int64_t i = 0; i + 256 <= num_bytes; i += 256) {
        prefetch(data + i + prefetch_distance, 256);
        for (int part = 0; part < 4; part++) sums[part] = max(sums[part], load((const float *)(data + i) + part * 16));
    }
    return sum(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
}
