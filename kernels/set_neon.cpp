#include "instruction_set.h"
#include <arm_neon.h>
namespace {
#include "vector/neon.h"
#include "compile.h"
}  // namespace

const InstructionSet neon = {"neon", linear, run_layers, count_int8, read_all};
