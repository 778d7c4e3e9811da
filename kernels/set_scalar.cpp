// Any processor: plain loops, which the compiler vectorizes where it can.
#define QWEN7B_VECTOR "vector/scalar.h"
#include "kernels.h"

static bool is_available() { return true; }

const InstructionSet instruction_sets::scalar = describe<VectorProduct>("scalar", is_available);
