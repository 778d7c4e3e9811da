// The C interface: chooses an instruction set and passes the calls on to it.
#include <string.h>

#include <atomic>
#include <chrono>
#include <new>

#include "constants.h"
#include "instruction_set.h"
#include "pool.h"
#include "qwen7b.h"

namespace {

constexpr int64_t INTERFACE_VERSION = 5;
#if UINTPTR_MAX == UINT64_MAX  // a structure whose size changes has another meaning: increment the version
static_assert(sizeof(qwen7b_matrix) == 64 && sizeof(qwen7b_layer) == 16 + 5 * 64 && sizeof(qwen7b_model) == 64);
static_assert(sizeof(qwen7b_cache_layer) == 72 && sizeof(qwen7b_cache) == 16 && sizeof(qwen7b_rows) == 48);
static_assert(sizeof(qwen7b_layer_additions) == 5 * 24 && sizeof(qwen7b_adapter) == 16);
#endif

constexpr qwen7b_contract CONTRACT = {
    sizeof(qwen7b_contract), INTERFACE_VERSION,
    GROUP, LANES, CHUNK, SPAN, MAX_HEAD_SIZE, NUM_WIDE_AXES, MAX_THREADS,
    sizeof(qwen7b_matrix), sizeof(qwen7b_layer), sizeof(qwen7b_model),
    sizeof(qwen7b_cache_layer), sizeof(qwen7b_cache), sizeof(qwen7b_rows),
};

const InstructionSet *const SETS[] = {  // best first
#define SET(name) &instruction_sets::name,
    QWEN7B_SETS
#undef SET
};

const InstructionSet *available_set(int index) {
    for (const InstructionSet *set : SETS)
        if (set->is_available() && index-- == 0) return set;
    return nullptr;
}

const InstructionSet *current_set = available_set(0);

double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

const qwen7b_contract *qwen7b_get_contract(void) { return &CONTRACT; }

const char *qwen7b_available_set(int index) {
    const InstructionSet *set = available_set(index);
    return set ? set->name : nullptr;
}

const char *qwen7b_instruction_set(void) { return current_set->name; }

int qwen7b_use_instruction_set(const char *name) {
    for (const InstructionSet *set : SETS)
        if (!strcmp(set->name, name) && set->is_available()) {
            current_set = set;
            return 0;
        }
    return -1;
}

int64_t qwen7b_repacked_bytes(const qwen7b_matrix *matrix) {
    const int64_t num_bytes = current_set->repacked_bytes(*matrix);
    return num_bytes ? REPACKED_HEADER_BYTES + num_bytes : 0;
}

void qwen7b_repack(const qwen7b_matrix *matrix, uint8_t *repacked) {
    *(const InstructionSet **)repacked = current_set;
    current_set->repack(*matrix, repacked + REPACKED_HEADER_BYTES);
}

int qwen7b_num_threads(void) { return num_threads(); }
void qwen7b_set_num_threads(int count) { set_num_threads(count); }

int qwen7b_linear(const qwen7b_matrix *matrix, const float *x, int64_t num_rows, float *y) try {
    current_set->linear(*matrix, x, num_rows, y);
    return 0;
} catch (const std::bad_alloc &) {
    return -1;
}

int qwen7b_run_layers(const qwen7b_model *model, const qwen7b_cache *const *caches, const qwen7b_rows *rows, int64_t first,
                      int64_t last, float *x) {
    return qwen7b_run_adapted_layers(model, caches, rows, nullptr, first, last, x);
}

int qwen7b_run_adapted_layers(const qwen7b_model *model, const qwen7b_cache *const *caches, const qwen7b_rows *rows,
                              const qwen7b_adapter *const *adapters, int64_t first, int64_t last, float *x) try {
    current_set->run_layers(*model, caches, *rows, adapters, first, last, x);
    return 0;
} catch (const std::bad_alloc &) {
    return -1;
}

int qwen7b_add_and_normalize(int64_t num_rows, int64_t size, float epsilon, qwen7b_array x, qwen7b_array added, qwen7b_array sum,
                             const float *weight, qwen7b_array y, float *inverse_rms) try {
    current_set->training->add_and_normalize(num_rows, size, epsilon, x, added, sum, weight, y, inverse_rms);
    return 0;
} catch (const std::bad_alloc &) {
    return -1;
}

int qwen7b_add_and_normalize_backward(int64_t num_rows, int64_t size, qwen7b_array sum, const float *weight,
                                      const float *inverse_rms, qwen7b_array for_y, qwen7b_array for_sum, qwen7b_array for_x,
                                      qwen7b_array for_added, float *for_weight) try {
    current_set->training->add_and_normalize_backward(num_rows, size, sum, weight, inverse_rms, for_y, for_sum, for_x, for_added,
                                                      for_weight);
    return 0;
} catch (const std::bad_alloc &) {
    return -1;
}

int qwen7b_rotate_heads(int64_t num_rows, int64_t num_heads, int64_t head_size, const float *cosines, const float *sines, float turn,
                        qwen7b_array x, int64_t x_row, int64_t x_head, qwen7b_array y, int64_t y_row, int64_t y_head) try {
    current_set->training->rotate_heads(num_rows, num_heads, head_size, cosines, sines, turn, x, x_row, x_head, y, y_row, y_head);
    return 0;
} catch (const std::bad_alloc &) {
    return -1;
}

int qwen7b_gate(int64_t count, qwen7b_array gate, qwen7b_array up, qwen7b_array y) try {
    current_set->training->gate(count, gate, up, y);
    return 0;
} catch (const std::bad_alloc &) {
    return -1;
}

int qwen7b_gate_backward(int64_t count, qwen7b_array gate, qwen7b_array up, qwen7b_array for_y, qwen7b_array for_gate,
                         qwen7b_array for_up) try {
    current_set->training->gate_backward(count, gate, up, for_y, for_gate, for_up);
    return 0;
} catch (const std::bad_alloc &) {
    return -1;
}

int qwen7b_causal_softmax(int64_t num_rows, int64_t columns, float scale, qwen7b_array scores, qwen7b_array y) try {
    current_set->training->causal_softmax(num_rows, columns, scale, scores, y);
    return 0;
} catch (const std::bad_alloc &) {
    return -1;
}

int qwen7b_causal_softmax_backward(int64_t num_rows, int64_t columns, float scale, qwen7b_array y, qwen7b_array gradients) try {
    current_set->training->causal_softmax_backward(num_rows, columns, scale, y, gradients);
    return 0;
} catch (const std::bad_alloc &) {
    return -1;
}

int qwen7b_cross_entropy(int64_t num_rows, int64_t columns, qwen7b_array logits, const int64_t *targets, float *losses) try {
    current_set->training->cross_entropy(num_rows, columns, logits, targets, losses);
    return 0;
} catch (const std::bad_alloc &) {
    return -1;
}

double qwen7b_measure_read(const void *data, int64_t num_bytes) {
    constexpr int64_t PIECE = 1 << 20;
    Session session;
    const double begin = seconds();
    session.run([&](Team &team, int) {
        team.share(num_bytes / PIECE, 1, [&](int64_t first, int64_t last) {
            volatile float sum = current_set->read_all((const uint8_t *)data + first * PIECE, (last - first) * PIECE);
            (void)sum;
        });
    });
    return (double)(num_bytes / PIECE * PIECE) / (seconds() - begin);
}

double qwen7b_measure_int8(int64_t iterations) {
    Session session;
    std::atomic<int64_t> operations{0};
    const double begin = seconds();
    session.run([&](Team &, int) { operations += current_set->count_int8(iterations); });
    return (double)operations / (seconds() - begin);
}
