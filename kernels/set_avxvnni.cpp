// x86 processors with the int8 products of VNNI but without AVX-512.
#define QWEN7B_VECTOR "vector/avx2.h"
#include "kernels.h"

RUNS_ANYWHERE static bool is_available() { return has_avx2() && __builtin_cpu_supports("avxvnni"); }

const InstructionSet instruction_sets::avxvnni = describe<VectorProduct>("avxvnni", is_available);
