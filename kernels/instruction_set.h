// What an instruction set provides; one of these for each that was compiled.
#pragma once
#include <float.h>
#include <math.h>

#include <utility>

#include "pool.h"
#include "qwen7b.h"

struct InstructionSet {
    const char *name;
    void (*linear)(const qwen7b_matrix &, const float *x, int64_t num_rows, float *y);
    void (*run_layers)(const qwen7b_model &, const qwen7b_cache &, const qwen7b_rows &, int64_t first, int64_t last, float *x);
    int64_t (*count_int8)(int64_t iterations);
    float (*read_all)(const uint8_t *data, int64_t num_bytes);
};

extern const InstructionSet scalar, avx2, avxvnni, avx512vnni, neon;
