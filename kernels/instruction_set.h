// What an instruction set provides; there is one of these for each set that was compiled.
#pragma once
#include <stdint.h>

#include "qwen7b.h"

// See qwen7b.h.
struct TrainingKernels {
    void (*add_and_normalize)(int64_t num_rows, int64_t size, float epsilon, qwen7b_array x, qwen7b_array added, qwen7b_array sum,
                              const float *weight, qwen7b_array y, float *inverse_rms);
    void (*add_and_normalize_backward)(int64_t num_rows, int64_t size, qwen7b_array sum, const float *weight, const float *inverse_rms,
                                       qwen7b_array for_y, qwen7b_array for_sum, qwen7b_array for_x, qwen7b_array for_added,
                                       float *for_weight);
    void (*rotate_heads)(int64_t num_rows, int64_t num_heads, int64_t head_size, const float *cosines, const float *sines, float turn,
                         qwen7b_array x, int64_t x_row, int64_t x_head, qwen7b_array y, int64_t y_row, int64_t y_head);
    void (*gate)(int64_t count, qwen7b_array gate, qwen7b_array up, qwen7b_array y);
    void (*gate_backward)(int64_t count, qwen7b_array gate, qwen7b_array up, qwen7b_array for_y, qwen7b_array for_gate,
                          qwen7b_array for_up);
    void (*causal_softmax)(int64_t num_rows, int64_t columns, float scale, qwen7b_array scores, qwen7b_array y);
    void (*causal_softmax_backward)(int64_t num_rows, int64_t columns, float scale, qwen7b_array y, qwen7b_array gradients);
    void (*cross_entropy)(int64_t num_rows, int64_t columns, qwen7b_array logits, const int64_t *targets, float *losses);
};

struct InstructionSet {
    const char *name;
    bool (*is_available)();
    int64_t (*repacked_bytes)(const qwen7b_matrix &);
    void (*repack)(const qwen7b_matrix &, uint8_t *to);
    void (*linear)(const qwen7b_matrix &, const float *x, int64_t num_rows, float *y);
    void (*run_layers)(const qwen7b_model &, const qwen7b_cache *const *, const qwen7b_rows &, const qwen7b_adapter *const *,
                       int64_t first, int64_t last, float *x);
    const TrainingKernels *training;
    int64_t (*count_int8)(int64_t iterations);
    float (*read_all)(const uint8_t *data, int64_t num_bytes);
};

// CMakeLists.txt lists them, best first; without its list there is only the scalar one.
#ifndef QWEN7B_SETS
#define QWEN7B_SETS SET(scalar)
#endif
namespace instruction_sets {
#define SET(name) extern const InstructionSet name;
QWEN7B_SETS
#undef SET
}  // namespace instruction_sets

namespace {

// Marks a function that asks which features the processor has: it must itself run on any processor.
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#define RUNS_ANYWHERE __attribute__((target("no-avx")))
// The features that all x86 sets need.
RUNS_ANYWHERE inline bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
#else
#define RUNS_ANYWHERE
#endif

// A matrix that a set has repacked begins with the set's address, so that none reads another's layout.
constexpr int64_t REPACKED_HEADER_BYTES = 64;

// The matrix in the set's own layout; null where there is none, so that the packed layout must be read.
inline const uint8_t *repacked_by(const InstructionSet &set, const qwen7b_matrix &m) {
    if (!m.repacked || *(const InstructionSet *const *)m.repacked != &set) return nullptr;
    return m.repacked + REPACKED_HEADER_BYTES;
}

}  // namespace
