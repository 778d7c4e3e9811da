// x86 processors with AVX-512 and its int8 products, VNNI.
#define QWEN7B_VECTOR "vector/avx512.h"
#include "kernels.h"

RUNS_ANYWHERE static bool is_available() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

const InstructionSet instruction_sets::avx512vnni = describe<VectorProduct>("avx512vnni", is_available);
