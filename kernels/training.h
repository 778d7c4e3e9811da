// What lies between the products of a training step. Sums over rows are taken by blocks of rows, whatever the threads.
#pragma once
#include <math.h>
#include <stdint.h>

#include "elementwise.h"
#include "instruction_set.h"
#include "pool.h"
#include "qwen7b.h"
#include "vector.h"

namespace {

constexpr int64_t ROWS_AT_ONCE = 16, NUMBERS_AT_ONCE = 8192;
constexpr int64_t ROWS_OF_A_SUM = 64;

// Sixteen numbers of an array, of which `count` are there; the others are `rest`.
Floats load_part(qwen7b_array from, int64_t at, int64_t count, float rest = 0) {
    const float *wide = (const float *)from.values + at;
    const uint16_t *narrow = (const uint16_t *)from.values + at;
    if (count >= LANES) return from.bits == 32 ? load(wide) : load_bfloat16(narrow);
    float spread[LANES];
    store(spread, all(rest));
    if (from.bits == 32) {
        for (int64_t i = 0; i < count; i++) spread[i] = wide[i];
        return load(spread);
    }
    uint16_t words[LANES] = {};
    for (int64_t i = 0; i < count; i++) words[i] = narrow[i];
    float numbers[LANES];
    store(numbers, load_bfloat16(words));
    for (int64_t i = 0; i < count; i++) spread[i] = numbers[i];
    return load(spread);
}

void store_part(qwen7b_array to, int64_t at, int64_t count, Floats value) {
    if (to.bits == 32) return store_part((float *)to.values + at, count, value);
    uint16_t *values = (uint16_t *)to.values + at;
    if (count >= LANES) return store_bfloat16(values, value);
    uint16_t spread[LANES];
    store_bfloat16(spread, value);
    for (int64_t i = 0; i < count; i++) values[i] = spread[i];
}

void add_and_normalize(int64_t num_rows, int64_t size, float epsilon, qwen7b_array x, qwen7b_array added, qwen7b_array sums,
                       const float *weight, qwen7b_array y, float *inverse_rms) {
    Session session;
    if (!added.values) sums = x;
    session.run([&](Team &team, int) {
        team.share(num_rows, ROWS_AT_ONCE, [&](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; row++) {
                const int64_t start = row * size;
                Floats squares = zeros();
                for (int64_t i = 0; i < size; i += LANES) {
                    Floats part = load_part(x, start + i, size - i);
                    if (added.values) {
                        store_part(sums, start + i, size - i, add(part, load_part(added, start + i, size - i)));
                        part = load_part(sums, start + i, size - i);  // as it was rounded
                    }
                    squares = fma(part, part, squares);
                }
                inverse_rms[row] = 1 / sqrtf(sum(squares) / (float)size + epsilon);
                const Floats scale = all(inverse_rms[row]);
                for (int64_t i = 0; i < size; i += LANES) {
                    const Floats scaled = mul(load_part(sums, start + i, size - i), scale);
                    store_part(y, start + i, size - i, mul(scaled, load_part(weight + i, size - i)));
                }
            }
        });
    });
}

// With s = 1 / rms and g = gradient of y · weight: s · g - x · s³ · mean(g · x), and for the weight the sum of y's · x · s.
void add_and_normalize_backward(int64_t num_rows, int64_t size, qwen7b_array sums, const float *weight, const float *inverse_rms,
                                qwen7b_array for_y, qwen7b_array for_sum, qwen7b_array for_x, qwen7b_array for_added,
                                float *for_weight) {
    Session session;
    const int64_t num_blocks = (num_rows + ROWS_OF_A_SUM - 1) / ROWS_OF_A_SUM;
    float *parts = for_weight ? (float *)session.memory(num_blocks * size * (int64_t)sizeof(float)) : nullptr;
    session.run([&](Team &team, int) {
        team.share(num_blocks, 1, [&](int64_t block, int64_t) {
            float *part = parts + block * size;
            for (int64_t i = 0; parts && i < size; i++) part[i] = 0;
            for (int64_t row = block * ROWS_OF_A_SUM; row < num_rows && row < (block + 1) * ROWS_OF_A_SUM; row++) {
                const int64_t start = row * size;
                const Floats scale = all(inverse_rms[row]);
                Floats products = zeros();
                for (int64_t i = 0; i < size; i += LANES) {
                    const int64_t left = size - i;
                    const Floats x = load_part(sums, start + i, left), y = load_part(for_y, start + i, left);
                    products = fma(mul(y, load_part(weight + i, left)), x, products);
                    if (parts) store_part(part + i, left, fma(mul(y, x), scale, load_part(part + i, left)));
                }
                const float inverse = inverse_rms[row];
                const Floats shrink = all(-sum(products) / (float)size * inverse * inverse * inverse);
                for (int64_t i = 0; i < size; i += LANES) {
                    const int64_t left = size - i;
                    const Floats gradient = mul(load_part(for_y, start + i, left), load_part(weight + i, left));
                    Floats whole = fma(load_part(sums, start + i, left), shrink, mul(gradient, scale));
                    if (for_sum.values) whole = add(whole, load_part(for_sum, start + i, left));
                    store_part(for_x, start + i, left, whole);
                    if (for_added.values) store_part(for_added, start + i, left, whole);
                }
            }
        });
        if (parts)
            team.share((size + LANES - 1) / LANES, 4, [&](int64_t first, int64_t last) {
                for (int64_t i = first * LANES; i < last * LANES && i < size; i += LANES) {
                    Floats whole = zeros();
                    for (int64_t block = 0; block < num_blocks; block++) whole = add(whole, load_part(parts + block * size + i, size - i));
                    store_part(for_weight + i, size - i, whole);
                }
            });
    });
}

void rotate_heads(int64_t num_rows, int64_t num_heads, int64_t head_size, const float *cosines, const float *sines, float turn,
                  qwen7b_array x, int64_t x_row, int64_t x_head, qwen7b_array y, int64_t y_row, int64_t y_head) {
    Session session;
    const int64_t half = head_size / 2;
    session.run([&](Team &team, int) {
        team.share(num_rows, ROWS_AT_ONCE, [&](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; row++)
                for (int64_t head = 0; head < num_heads; head++) {
                    const int64_t from = row * x_row + head * x_head, to = row * y_row + head * y_head, angles = row * head_size;
                    for (int64_t i = 0; !cosines && i < head_size; i += LANES)
                        store_part(y, to + i, head_size - i, load_part(x, from + i, head_size - i));
                    for (int64_t i = 0; cosines && i < half; i += LANES) {
                        const int64_t left = half - i;
                        const Floats c = load_part(cosines + angles + i, left);
                        const Floats s = mul(load_part(sines + angles + i, left), all(turn));
                        const Floats a = load_part(x, from + i, left), b = load_part(x, from + half + i, left);
                        store_part(y, to + i, left, sub(mul(a, c), mul(b, s)));
                        store_part(y, to + half + i, left, fma(b, c, mul(a, s)));
                    }
                }
        });
    });
}

void gate(int64_t count, qwen7b_array gates, qwen7b_array up, qwen7b_array y) {
    Session session;
    session.run([&](Team &team, int) {
        team.share(count, NUMBERS_AT_ONCE, [&](int64_t first, int64_t last) {
            for (int64_t i = first; i < last; i += LANES)
                store_part(y, i, last - i, mul(load_part(up, i, last - i), silu(load_part(gates, i, last - i))));
        });
    });
}

// silu(g) = g · s with s = 1 / (1 + e^-g), and its derivative is s · (1 + g · (1 - s)).
void gate_backward(int64_t count, qwen7b_array gates, qwen7b_array up, qwen7b_array for_y, qwen7b_array for_gate, qwen7b_array for_up) {
    Session session;
    session.run([&](Team &team, int) {
        team.share(count, NUMBERS_AT_ONCE, [&](int64_t first, int64_t last) {
            for (int64_t i = first; i < last; i += LANES) {
                const int64_t left = last - i;
                const Floats g = load_part(gates, i, left), y = load_part(for_y, i, left);
                const Floats s = div(all(1), add(all(1), exponential(min(sub(zeros(), g), all(88)))));
                const Floats slope = mul(s, fma(g, sub(all(1), s), all(1)));
                store_part(for_gate, i, left, mul(mul(y, load_part(up, i, left)), slope));
                store_part(for_up, i, left, mul(y, mul(g, s)));
            }
        });
    });
}

struct Peak {
    float largest, sum_exp;  // of all numbers, and of e to their distance from the largest
};

// Of `count` numbers times `scale`. A maximum may pass over what is no number, so the sum shows it.
Peak find_peak(qwen7b_array from, int64_t at, int64_t count, float scale) {
    Floats largest = all(-INFINITY), nothing = zeros(), sums = zeros();
    for (int64_t i = 0; i < count; i += LANES) {
        largest = max(largest, load_part(from, at + i, count - i, -INFINITY));
        nothing = fma(load_part(from, at + i, count - i), zeros(), nothing);
    }
    const float max_number = max(largest) * scale;
    for (int64_t i = 0; i < count; i += LANES)
        sums = add(sums, exponential(fma(load_part(from, at + i, count - i, -INFINITY), all(scale), all(-max_number))));
    return {max_number, sum(sums) + sum(nothing)};
}

void causal_softmax(int64_t num_rows, int64_t columns, float scale, qwen7b_array scores, qwen7b_array y) {
    Session session;
    session.run([&](Team &team, int) {
        team.share(num_rows, ROWS_AT_ONCE, [&](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; row++) {
                const int64_t start = row * columns, count = row % columns + 1;
                const Peak peak = find_peak(scores, start, count, scale);
                for (int64_t i = 0; i < columns; i += LANES) {
                    Floats likely = zeros();
                    if (i < count) {
                        likely = exponential(fma(load_part(scores, start + i, count - i, -INFINITY), all(scale), all(-peak.largest)));
                        likely = mul(likely, all(1 / peak.sum_exp));
                    }
                    store_part(y, start + i, columns - i, likely);
                }
            }
        });
    });
}

// scale · p · (g - sum of p · g), which is 0 where p is.
void causal_softmax_backward(int64_t num_rows, int64_t columns, float scale, qwen7b_array y, qwen7b_array gradients) {
    Session session;
    session.run([&](Team &team, int) {
        team.share(num_rows, ROWS_AT_ONCE, [&](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; row++) {
                const int64_t start = row * columns, count = row % columns + 1;
                Floats products = zeros();
                for (int64_t i = 0; i < count; i += LANES)
                    products = fma(load_part(y, start + i, count - i), load_part(gradients, start + i, count - i), products);
                const Floats mean = all(sum(products));
                for (int64_t i = 0; i < columns; i += LANES) {
                    Floats gradient = zeros();
                    if (i < count) {
                        gradient = sub(load_part(gradients, start + i, count - i), mean);
                        gradient = mul(mul(load_part(y, start + i, count - i), all(scale)), gradient);
                    }
                    store_part(gradients, start + i, columns - i, gradient);
                }
            }
        });
    });
}

void cross_entropy(int64_t num_rows, int64_t columns, qwen7b_array logits, const int64_t *targets, float *losses) {
    Session session;
    session.run([&](Team &team, int) {
        team.share(num_rows, 1, [&](int64_t row, int64_t) {
            const int64_t start = row * columns, wanted = start + targets[row];
            const Peak peak = find_peak(logits, start, columns, 1);
            float target[LANES];
            store(target, load_part(logits, wanted, 1));
            const float log_sum = peak.largest + logf(peak.sum_exp);
            losses[row] = log_sum - target[0];
            for (int64_t i = 0; i < columns; i += LANES)
                store_part(logits, start + i, columns - i, exponential(sub(load_part(logits, start + i, columns - i), all(log_sum))));
            store_part(logits, wanted, 1, all(expf(target[0] - log_sum) - 1));
        });
    });
}

constexpr TrainingKernels training = {
    add_and_normalize, add_and_normalize_backward, rotate_heads, gate, gate_backward, causal_softmax, causal_softmax_backward,
    cross_entropy,
};

}  // namespace
