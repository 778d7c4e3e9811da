// x86 processors since about 2013: AVX2 with FMA and F16C.
#define QWEN7B_VECTOR "vector/avx2.h"
#include "kernels.h"

RUNS_ANYWHERE static bool is_available() { return has_avx2(); }

const InstructionSet instruction_sets::avx2 = describe<VectorProduct>("avx2", is_available);
