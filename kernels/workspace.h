// The scratch memory of a call, allocated from its session's.
#pragma once
#include <stdint.h>

#include "activations.h"
#include "inner_loops.h"
#include "vector.h"

namespace {

// Hands out memory from `base`; with a null base it only counts how much is needed.
struct Arena {
    uint8_t *base;
    int64_t used;
    template <class T> void take(T *&to, int64_t count) {
        to = (T *)(base + used);
        used += round_up(count * (int64_t)sizeof(T), 64);
    }
};

// The input of a product, and scratch memory for each thread.
template <class Product> struct Operands {
    Activations x;
    uint8_t *scratch;
    int64_t scratch_bytes;

    void take(Arena &arena, int64_t num_rows, int64_t columns, int num_threads) {
        const int64_t num_groups = groups_of(columns);
        x.num_groups = num_groups;
        arena.take(x.codes, num_rows * num_groups * GROUP);
        arena.take(x.scales, num_rows * num_groups);
        arena.take(x.sums, num_rows * num_groups);
        scratch_bytes = round_up(Product::scratch_bytes(num_rows, num_groups), 64);
        arena.take(scratch, scratch_bytes * num_threads);
    }

    uint8_t *scratch_of(int thread) const { return scratch + thread * scratch_bytes; }

    // The same memory for rows of another length, at most the original one.
    Activations with_columns(int64_t columns) const {
        Activations input = x;
        input.num_groups = groups_of(columns);
        return input;
    }
};

}  // namespace
