#include "instruction_set.h"
#include <string.h>
namespace {
#include "vector/scalar.h"
#include "compile.h"
}  // namespace

const InstructionSet scalar = {"scalar", linear, run_layers, count_int8, read_all};
