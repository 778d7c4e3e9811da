#include "instruction_set.h"
#include <immintrin.h>
namespace {
#include "vector/avx2.h"
#include "compile.h"
}  // namespace

const InstructionSet avxvnni = {"avxvnni", linear, run_layers, count_int8, read_all};
