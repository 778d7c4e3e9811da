#include "instruction_set.h"
#include <immintrin.h>
namespace {
#include "vector/avx512.h"
#include "compile.h"
}  // namespace

const InstructionSet avx512vnni = {"avx512vnni", linear, run_layers, count_int8, read_all};
