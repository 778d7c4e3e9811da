// Compares every instruction set that this processor has with the scalar one: build with all sources, run, expect 0.
// The Python tests compare with PyTorch; this is for processors that only an emulator has, and for set_row_major.cpp.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "constants.h"
#include "qwen7b.h"

static std::mt19937 generator(7);

static std::vector<float> random_floats(int64_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float &value : values) value = normal(generator);
    return values;
}

struct Packed {
    std::vector<uint8_t> codes;
    std::vector<uint16_t> scales;
    std::vector<int8_t> codebook;
    std::vector<float> bias;
    std::vector<uint8_t> repacked;
    qwen7b_matrix matrix;

    Packed(int64_t rows, int64_t columns, int64_t bits) {
        const int64_t blocks = (rows + LANES - 1) / LANES, groups = (columns + GROUP - 1) / GROUP;
        for (int64_t i = 0; i < blocks * groups * LANES * GROUP * bits / 8; i++) {
            const uint8_t byte = (uint8_t)generator();
            codes.push_back(bits == 8 && byte == 128 ? 0 : byte);
        }
        for (int64_t i = 0; i < blocks * groups * LANES; i++) scales.push_back((uint16_t)(0x1400 + generator() % 0x400));  // about 0.001
        for (int i = 0; i < 16; i++) codebook.push_back((int8_t)(i * 17 - 127));
        bias = random_floats(rows);
        matrix = {rows, columns, bits, codes.data(), scales.data(), bits == 4 ? codebook.data() : nullptr, bias.data(), nullptr};
    }

    // In the own layout of the set in use, if it has one, which from then on needs the codes no more.
    void repack() {
        const int64_t num_bytes = qwen7b_repacked_bytes(&matrix);
        if (!num_bytes) return;
        repacked.resize(num_bytes + 64);
        uint8_t *aligned = repacked.data() + (64 - (uintptr_t)repacked.data() % 64);
        qwen7b_repack(&matrix, aligned);
        matrix.repacked = aligned;
    }
    void forget_codes() {
        if (matrix.repacked) std::fill(codes.begin(), codes.end(), (uint8_t)0x55);
    }
};

static double difference(const std::vector<float> &actual, const std::vector<float> &expected) {  // relative to its norm
    double error = 0, norm = 0;
    for (size_t i = 0; i < actual.size(); i++) error += pow(actual[i] - expected[i], 2), norm += pow(expected[i], 2);
    return sqrt(error / norm);
}

static std::vector<float> product(const Packed &packed, int64_t rows) {
    generator.seed(11);
    const std::vector<float> x = random_floats(rows * packed.matrix.columns);
    std::vector<float> y(rows * packed.matrix.rows);
    qwen7b_linear(&packed.matrix, x.data(), rows, y.data());
    return y;
}

// A sequence's keys and values in two layers, the second with a window.
struct Cached {
    std::vector<uint16_t> keys, values, scales, wide_keys;
    std::vector<qwen7b_cache_layer> layers;
    qwen7b_cache cache;

    Cached(int64_t kv_heads, int64_t head, int64_t num_slots, const std::vector<float> &balance, const std::vector<int32_t> &axes,
           int64_t bits) {
        const int64_t slots = kv_heads * num_slots;  // of a layer
        keys.resize(2 * slots * head), values.resize(2 * slots * head), scales.resize(4 * slots), wide_keys.resize(2 * slots * NUM_WIDE_AXES);
        for (int64_t i = 0; i < 2; i++)
            layers.push_back({keys.data() + i * slots * head, values.data() + i * slots * head, scales.data() + 2 * i * slots,
                              scales.data() + (2 * i + 1) * slots, wide_keys.data() + i * slots * NUM_WIDE_AXES, balance.data(),
                              axes.data(), num_slots, i ? 20 : 0});
        cache = {bits, layers.data()};
    }
    Cached(const Cached &) = delete;  // its pointers stay with it
};

// An adapter that adds to products of two layers.
struct Adapter {
    std::vector<std::vector<float>> kept;
    std::vector<qwen7b_layer_additions> layers;
    qwen7b_adapter adapter;

    Adapter(int64_t size, int64_t forward, int64_t inner, int64_t qkv) {
        for (int64_t i = 0; i < 2; i++)
            layers.push_back({addition(6, qkv, size), addition(i, size, inner), addition(9, forward, size), addition(4, forward, size),
                              addition(3, size, forward)});
        adapter = {9, layers.data()};
    }
    Adapter(const Adapter &) = delete;  // its pointers stay with it

    qwen7b_addition addition(int64_t rank, int64_t rows, int64_t columns) {
        const int64_t blocks = (rows + LANES - 1) / LANES;
        kept.push_back(random_floats(rank * columns)), kept.push_back(random_floats(blocks * rank * LANES));
        for (float &value : kept.back()) value *= 0.01f;
        return {rank, kept.end()[-2].data(), kept.back().data()};
    }
};

// Two sequences of unlike capacity, the second with an adapter, through two layers, 40 positions at once and then one.
static std::vector<float> layers(int64_t cache_bits) {
    generator.seed(13);
    constexpr int64_t size = 128, forward = 192, heads = 4, kv_heads = 2, head = 32, sequences = 2;
    std::vector<Packed> kept;
    kept.reserve(10);
    std::vector<float> norm(size, 1);
    qwen7b_layer both[2];
    for (qwen7b_layer &layer : both) {
        for (auto [rows, columns] : {std::pair(heads * head + 2 * kv_heads * head, size), {size, heads * head}, {forward, size}, {forward, size}, {size, forward}})
            kept.emplace_back(rows, columns, 4).repack();
        const Packed *last = &kept.back();
        layer = {norm.data(), norm.data(), last[-4].matrix, last[-3].matrix, last[-2].matrix, last[-1].matrix, last[0].matrix};
    }
    for (Packed &packed : kept) packed.forget_codes();
    const qwen7b_model model{2, size, forward, heads, kv_heads, head, 1e-6f, both};
    std::vector<float> balance(kv_heads * head);
    for (size_t i = 0; i < balance.size(); i++) balance[i] = i % 3 ? 1 : 4;
    std::vector<int32_t> axes;
    for (int i = 0; i < kv_heads * NUM_WIDE_AXES; i++) axes.push_back(i * 3 % head);
    const Cached small(kv_heads, head, 48, balance, axes, cache_bits), large(kv_heads, head, 80, balance, axes, cache_bits);
    const qwen7b_cache *const caches[sequences] = {&small.cache, &large.cache};
    const Adapter adapter(size, forward, heads * head, heads * head + 2 * kv_heads * head);
    std::vector<float> result;
    for (auto [first, count] : {std::pair(0, 40), {40, 1}}) {
        std::vector<int32_t> sequence, position;
        std::vector<float> cosines, sines;
        std::vector<const qwen7b_adapter *> adapters;
        for (int32_t b = 0; b < sequences; b++)
            for (int32_t p = first; p < first + count; p++) {
                sequence.push_back(b), position.push_back(p), adapters.push_back(b ? &adapter.adapter : nullptr);
                for (int i = 0; i < head / 2; i++) {
                    const double angle = p * pow(10000, -2.0 * i / head);
                    cosines.push_back((float)cos(angle)), sines.push_back((float)sin(angle));
                }
            }
        const qwen7b_rows rows{(int64_t)sequence.size(), sequence.data(), position.data(), cosines.data(), sines.data(), nullptr};
        std::vector<float> x = random_floats(sequence.size() * size);
        qwen7b_run_adapted_layers(&model, caches, &rows, adapters.data(), 0, 2, x.data());
        result.insert(result.end(), x.begin(), x.end());
    }
    return result;
}

static std::vector<uint16_t> rounded(const std::vector<float> &values) {  // to bfloat16, towards zero
    std::vector<uint16_t> result;
    for (float value : values) {
        uint32_t bits;
        memcpy(&bits, &value, 4);
        result.push_back((uint16_t)(bits >> 16));
    }
    return result;
}

// What training computes of rows of 40 numbers, forward and backward, with arrays of both kinds.
static std::vector<float> training() {
    generator.seed(17);
    constexpr int64_t rows = 70, size = 40, head = 20, count = rows * size;
    std::vector<float> x = random_floats(count), weight = random_floats(size), inverse(rows), for_y = random_floats(count);
    std::vector<uint16_t> added = rounded(random_floats(count)), small(count);
    std::vector<float> sum(count), y(count), for_x(count), for_weight(size), turned(count), losses(rows);
    std::vector<float> gated(count), for_gate(count), for_up(count), logits = random_floats(count);
    std::vector<float> likely(count), for_likely = random_floats(count);
    std::vector<int64_t> targets;
    for (int64_t row = 0; row < rows; row++) targets.push_back(row % size);
    const auto wide = [](std::vector<float> &values) { return qwen7b_array{values.data(), 32}; };
    qwen7b_add_and_normalize(rows, size, 1e-6f, wide(x), {added.data(), 16}, wide(sum), weight.data(), wide(y), inverse.data());
    qwen7b_add_and_normalize_backward(rows, size, wide(sum), weight.data(), inverse.data(), wide(for_y), wide(x), wide(for_x),
                                      {small.data(), 16}, for_weight.data());
    qwen7b_rotate_heads(rows, size / head, head, x.data(), y.data(), -1, {small.data(), 16}, size, head, wide(turned), head, rows * head);
    qwen7b_gate(count, wide(x), wide(y), wide(gated));
    qwen7b_gate_backward(count, wide(x), wide(y), wide(for_y), wide(for_gate), wide(for_up));
    qwen7b_causal_softmax(rows, size, 0.3f, wide(for_x), wide(likely));
    qwen7b_causal_softmax_backward(rows, size, 0.3f, wide(likely), wide(for_likely));
    qwen7b_cross_entropy(rows, size, wide(logits), targets.data(), losses.data());
    std::vector<float> result;
    for (const auto *part : {&sum, &y, &for_x, &for_weight, &turned, &gated, &for_gate, &for_up, &likely, &for_likely, &logits, &losses})
        result.insert(result.end(), part->begin(), part->end());
    return result;
}

static int failures = 0;

static void check(const char *name, const std::string &what, const std::vector<float> &actual, const std::vector<float> &expected,
                  double tolerance) {
    const double error = difference(actual, expected);
    printf("%s %s: %.1e\n", name, what.c_str(), error);
    failures += !(error <= tolerance);
}

int main() {
    qwen7b_set_num_threads(3);
    std::vector<const char *> names;
    for (int i = 0; qwen7b_available_set(i); i++) names.push_back(qwen7b_available_set(i));
    for (const char *name : names) {
        const bool is_plain = !strcmp(name, "row_major");  // adds up as the scalar set does
        for (int64_t bits : {8, 4})
            for (int64_t rows : {1, 7, 30, 70}) {
                Packed packed(72, 200, bits);
                const std::string what = "linear " + std::to_string(bits) + " bits, " + std::to_string(rows) + " rows";
                qwen7b_use_instruction_set("scalar");
                const std::vector<float> expected = product(packed, rows);
                qwen7b_use_instruction_set(name);
                check(name, what + ", packed layout", product(packed, rows), expected, is_plain ? 0 : 1e-6);
                packed.repack();
                qwen7b_use_instruction_set("scalar");
                check(name, what + ", another's layout", product(packed, rows), expected, 0);
                qwen7b_use_instruction_set(name);
                packed.forget_codes();
                check(name, what + ", own layout", product(packed, rows), expected, is_plain ? 0 : 1e-6);
            }
        qwen7b_use_instruction_set("scalar");
        const std::vector<float> trained = training();
        qwen7b_use_instruction_set(name);
        check(name, "training", training(), trained, is_plain ? 0 : 1e-4);  // a number may be rounded to the next bfloat16
        for (int64_t bits : {8, 16}) {
            qwen7b_use_instruction_set("scalar");
            const std::vector<float> expected = layers(bits);
            qwen7b_use_instruction_set(name);
            // Where a sum's order decides a rounding to int8, more than noise follows.
            check(name, "layers, " + std::to_string(bits) + "-bit cache", layers(bits), expected, is_plain ? 0 : 5e-3);
        }
    }
    return failures;
}
