// 64-bit ARM, all of which has NEON, with the products of bytes and the atomic additions that most have since 2018.
#define QWEN7B_VECTOR "vector/neon.h"
#include "kernels.h"

#ifdef __linux__
#include <asm/hwcap.h>
#include <sys/auxv.h>

static bool is_available() {
    constexpr unsigned long needed = HWCAP_ASIMDDP | HWCAP_ASIMDHP | HWCAP_ATOMICS;
    return (getauxval(AT_HWCAP) & needed) == needed;
}
#else
static bool is_available() { return true; }  // Apple's have them all
#endif

const InstructionSet instruction_sets::neon = describe<VectorProduct>("neon", is_available);
