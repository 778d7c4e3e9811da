// Not the set of any processor, but a test of the interface for sets with products of their own: built with the
// self-test only, which compares it to the scalar set. It keeps matrices row by row, as bytes, and checks that each
// thread was set up before it multiplies.
#define QWEN7B_VECTOR "vector/scalar.h"
#include <stdlib.h>

#include "kernels.h"

namespace {

thread_local bool is_set_up = false;

// The layout: a float scale for each group of every row, then the codes of every row as int8.
struct RowMajorProduct : VectorProduct {
    struct OnThread {
        OnThread() { is_set_up = true; }
        ~OnThread() { is_set_up = false; }
    };

    static int64_t repacked_bytes(const qwen7b_matrix &m) {
        return m.rows * groups_of(m.columns) * (GROUP + (int64_t)sizeof(float));
    }

    static void repack(const qwen7b_matrix &m, uint8_t *to) {
        const int64_t num_groups = groups_of(m.columns), block_bytes = num_groups * LANES * GROUP * m.bits / 8;
        float *scales = (float *)to;
        int8_t *codes = (int8_t *)(scales + m.rows * num_groups);
        for (int64_t row = 0; row < m.rows; row++) {
            const int64_t block = row / LANES, lane = row % LANES;
            for (int64_t g = 0; g < num_groups; g++)
                scales[row * num_groups + g] = from_half(m.scales[(block * num_groups + g) * LANES + lane]);
            for (int64_t k = 0; k < num_groups * GROUP; k++) {
                const uint8_t *quads = m.codes + block * block_bytes + lane * 4 + k % 4;
                const uint8_t byte = quads[m.bits == 8 ? k / 4 * 64 : k / 8 * 64];
                const int8_t code = m.bits == 8 ? (int8_t)byte : m.codebook[k / 4 % 2 ? byte >> 4 : byte & 15];
                codes[row * num_groups * GROUP + k] = code;
            }
        }
    }

    template <class Emit>
    static void multiply(const qwen7b_matrix &m, int64_t first, int64_t last, const Activations &x, int64_t num_rows,
                         uint8_t *scratch, Emit emit) {
        if (!is_set_up) abort();
        const uint8_t *own = repacked_by(instruction_sets::row_major, m);
        if (!own) return VectorProduct::multiply(m, first, last, x, num_rows, scratch, emit);
        const float *scales = (const float *)own;
        const int8_t *codes = (const int8_t *)(scales + m.rows * x.num_groups);
        for (int64_t block = first; block < last; block++)
            for (int64_t row = 0; row < num_rows; row++) {
                Floats sums = zeros();
                for (int64_t lane = 0; lane < LANES && block * LANES + lane < m.rows; lane++)
                    for (int64_t g = 0; g < x.num_groups; g++) {
                        const int64_t weights = (block * LANES + lane) * x.num_groups + g, input = row * x.num_groups + g;
                        int32_t dot = 0;
                        for (int64_t k = 0; k < GROUP; k++) dot += codes[weights * GROUP + k] * x.codes[input * GROUP + k];
                        sums.v[lane] += (float)dot * (scales[weights] * x.scales[input]);
                    }
                emit(row, block, sums);
            }
    }
};

bool is_available() { return true; }

}  // namespace

const InstructionSet instruction_sets::row_major = describe<RowMajorProduct>("row_major", is_available);
