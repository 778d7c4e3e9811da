// How fast one thread can read and multiply; qwen7b_measure_* time it on all threads.
#pragma once
#include <stdint.h>

#include "inner_loops.h"
#include "vector.h"

namespace {

constexpr int NUM_CHAINS = PANEL_BLOCKS * PANEL_ROWS;

NOT_INLINED void multiply_on(int64_t iterations, Codes codes, const int8_t *four, Ints *sums) {
    Ints held[NUM_CHAINS];
    each<NUM_CHAINS>([&](auto i) { held[i] = sums[i]; });
    for (int64_t n = 0; n < iterations; n++) each<NUM_CHAINS>([&](auto i) { held[i] = dot(held[i], codes, four); });
    each<NUM_CHAINS>([&](auto i) { sums[i] = held[i]; });
}

int64_t count_vector_int8(int64_t iterations) {
    alignas(64) uint8_t bytes[64] = {1};
    alignas(4) const int8_t four[4] = {1, 2, 3, 4};
    Ints sums[NUM_CHAINS] = {};
    multiply_on(iterations, load_codes(bytes), four, sums);
    volatile float used = sum(to_floats(sums[0]));
    (void)used;
    return iterations * NUM_CHAINS * 64 * 2;
}

float read_all(const uint8_t *data, int64_t num_bytes) {
    Floats sums[4] = {zeros(), zeros(), zeros(), zeros()};
    for (int64_t i = 0; i + 256 <= num_bytes; i += 256) {
        prefetch(data + i + PREFETCH_DISTANCE, 256);
        for (int part = 0; part < 4; part++) sums[part] = max(sums[part], load((const float *)(data + i) + part * 16));
    }
    return sum(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
}

}  // namespace
