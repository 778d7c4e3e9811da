// The C interface: picks an instruction set and passes the calls on.
#include <chrono>
#include <new>
#include <string.h>

#include "instruction_set.h"

namespace {

bool always() { return true; }
#if defined(QWEN7B_X86)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"); }
bool has_avxvnni() { return has_avx2() && __builtin_cpu_supports("avxvnni"); }
bool has_avx512vnni() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}
#endif

struct Choice {
    const InstructionSet *set;
    bool (*available)();
};
const Choice choices[] = {  // best first
#if defined(QWEN7B_X86)
    {&avx512vnni, has_avx512vnni}, {&avxvnni, has_avxvnni}, {&avx2, has_avx2},
#elif defined(QWEN7B_ARM)
    {&neon, always},
#endif
    {&scalar, always},
};

const InstructionSet *best() {
    for (const Choice &choice : choices)
        if (choice.available()) return choice.set;
    return &scalar;
}

const InstructionSet *used = best();

double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int qwen7b_interface(void) { return QWEN7B_INTERFACE; }

const char *qwen7b_instruction_set(void) { return used->name; }

int qwen7b_use_instruction_set(const char *name) {
    for (const Choice &choice : choices)
        if (!strcmp(choice.set->name, name) && choice.available()) {
            used = choice.set;
            return 0;
        }
    return -1;
}

int qwen7b_num_threads(void) { return num_threads(); }
void qwen7b_set_num_threads(int count) { set_num_threads(count); }

int qwen7b_linear(const qwen7b_matrix *matrix, const float *x, int64_t num_rows, float *y) try {
    used->linear(*matrix, x, num_rows, y);
    return 0;
} catch (const std::bad_alloc &) {
    return -1;
}

int qwen7b_run_layers(const qwen7b_model *model, const qwen7b_cache *cache, const qwen7b_rows *rows, int64_t first,
                      int64_t last, float *x) try {
    used->run_layers(*model, *cache, *rows, first, last, x);
    return 0;
} catch (const std::bad_alloc &) {
    return -1;
}

double qwen7b_measure_read(const void *data, int64_t num_bytes) {
    constexpr int64_t piece = 1 << 20;
    Session session;
    const double begin = seconds();
    session.run([&](Team &team, int) {
        team.share(num_bytes / piece, 1, [&](int64_t first, int64_t last) {
            volatile float sum = used->read_all((const uint8_t *)data + first * piece, (last - first) * piece);
            (void)sum;
        });
    });
    return (double)(num_bytes / piece * piece) / (seconds() - begin);
}

double qwen7b_measure_int8(int64_t iterations) {
    Session session;
    std::atomic<int64_t> operations{0};
    const double begin = seconds();
    session.run([&](Team &, int) { operations += used->count_int8(iterations); });
    return (double)operations / (seconds() - begin);
}
