// Products with packed matrices. Every output is the same sum in the same order whatever the number of rows and
// threads: int32 within a group, exactly, and then group after group in float.
#pragma once
#include <stdint.h>

#include "activations.h"
#include "inner_loops.h"
#include "limits.h"
#include "product_direct.h"
#include "product_panel.h"
#include "qwen7b.h"
#include "vector.h"

namespace {

// From this many rows of x on, a panel of weights is unpacked once for all of them.
constexpr int64_t PANEL_FROM = 64;

inline int64_t num_blocks(const qwen7b_matrix &m) { return (m.rows + LANES - 1) / LANES; }

template <int64_t bits, class Emit>
void multiply_blocks(const qwen7b_matrix &m, int64_t first, int64_t last, const Activations &x, int64_t num_rows,
                     uint8_t *panel, Emit emit) {
    if (num_rows >= PANEL_FROM) {
        int64_t block = first;
        for (; block + PANEL_BLOCKS <= last; block += PANEL_BLOCKS)
            multiply_through_panel<bits, PANEL_BLOCKS>(m, block, x, num_rows, panel, emit);
        for (; block < last; block++) multiply_through_panel<bits, 1>(m, block, x, num_rows, panel, emit);
        return;
    }
    int64_t block = first;
    if (num_rows > 2)  // several blocks share each load of x
        for (; block + DIRECT_BLOCKS <= last; block += DIRECT_BLOCKS)
            multiply_few<bits, DIRECT_BLOCKS>(m, block, x, num_rows, emit);
    for (; block < last; block++) multiply_few<bits, 1>(m, block, x, num_rows, emit);
}

// How a set multiplies. By default with its vectors, reading the packed layout as it is. A set that can do better has a
// struct of its own, which inherits from this one and replaces what differs.
struct VectorProduct {
    // Each thread constructs one before its first product of a call, and destroys it after its last.
    struct OnThread {};

    // The bytes of a matrix in a layout of the set's own, 0 where there is none; and a function that writes it to an
    // address that is a multiple of 64. multiply() finds it by repacked_by() of instruction_set.h. Where that returns
    // null, multiply() must read the packed layout, within the same scratch memory: only the layers' matrices are
    // repacked, and qwen7b_linear() gets the head as it is. The self-test multiplies both.
    static int64_t repacked_bytes(const qwen7b_matrix &) { return 0; }
    static void repack(const qwen7b_matrix &, uint8_t *) {}

    // Bytes of scratch memory for each thread.
    static int64_t scratch_bytes(int64_t num_rows, int64_t num_groups) {
        return num_rows < PANEL_FROM ? 0 : PANEL_BLOCKS * LANES * num_groups * GROUP;
    }

    // How many blocks a thread takes at once: about 128 KB of codes for few rows, a panel for many.
    static int64_t grain(const qwen7b_matrix &m, int64_t num_rows) {
        if (num_rows >= PANEL_FROM) return PANEL_BLOCKS;
        const int64_t bytes = LANES * m.columns * m.bits / 8;
        return bytes >= (1 << 17) ? 1 : (1 << 17) / bytes;
    }

    // emit(row, block, sums) for blocks first..last of the matrix and all rows of x.
    template <class Emit>
    static void multiply(const qwen7b_matrix &m, int64_t first, int64_t last, const Activations &x, int64_t num_rows,
                         uint8_t *scratch, Emit emit) {
        if (m.bits == 4) multiply_blocks<4>(m, first, last, x, num_rows, scratch, emit);
        else multiply_blocks<8>(m, first, last, x, num_rows, scratch, emit);
    }

    // Runs int8 operations as fast as a thread can, and returns how many they were.
    static int64_t count_int8(int64_t iterations) { return count_vector_int8(iterations); }
};

}  // namespace
