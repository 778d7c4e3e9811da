// 64-bit ARM, all of which has NEON.
#define QWEN7B_VECTOR "vector/neon.h"
#include "kernels.h"

static bool is_available() { return true; }

const InstructionSet instruction_sets::neon = describe<VectorProduct>("neon", is_available);
