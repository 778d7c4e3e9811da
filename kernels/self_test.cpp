// Compares every instruction set that this processor has with the scalar one: build with all sources, run, expect 0.
// The Python tests compare with PyTorch; this is for processors that only an emulator has.
#include <math.h>
#include <stdio.h>

#include <random>
#include <vector>

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
    qwen7b_matrix matrix;

    Packed(int64_t rows, int64_t columns, int64_t bits) {
        const int64_t blocks = (rows + 15) / 16, groups = (columns + 63) / 64;
        for (int64_t i = 0; i < blocks * groups * 128 * bits; i++) {
            const uint8_t byte = (uint8_t)generator();
            codes.push_back(bits == 8 && byte == 128 ? 0 : byte);
        }
        for (int64_t i = 0; i < blocks * groups * 16; i++) scales.push_back((uint16_t)(0x1400 + generator() % 0x400));  // about 0.001
        for (int i = 0; i < 16; i++) codebook.push_back((int8_t)(i * 17 - 127));
        bias = random_floats(rows);
        matrix = {rows, columns, bits, codes.data(), scales.data(), bits == 4 ? codebook.data() : nullptr, bias.data()};
    }
};

static double difference(const std::vector<float> &a, const std::vector<float> &b) {  // relative to b's norm
    double error = 0, norm = 0;
    for (size_t i = 0; i < a.size(); i++) error += pow(a[i] - b[i], 2), norm += pow(b[i], 2);
    return sqrt(error / norm);
}

static std::vector<float> product(const Packed &packed, int64_t rows) {
    generator.seed(11);
    const std::vector<float> x = random_floats(rows * packed.matrix.columns);
    std::vector<float> y(rows * packed.matrix.rows);
    qwen7b_linear(&packed.matrix, x.data(), rows, y.data());
    return y;
}

// Two sequences through two layers, 40 positions at once and then one.
static std::vector<float> layers(int64_t cache_bits) {
    generator.seed(13);
    constexpr int64_t size = 128, forward = 192, heads = 4, kv_heads = 2, head = 32, positions = 48, sequences = 2, wide = 8;
    std::vector<Packed> kept;
    kept.reserve(10);
    std::vector<float> norm(size, 1);
    qwen7b_layer both[2];
    for (qwen7b_layer &layer : both) {
        for (auto [rows, columns] : {std::pair(heads * head + 2 * kv_heads * head, size), {size, heads * head}, {forward, size}, {forward, size}, {size, forward}})
            kept.emplace_back(rows, columns, 4);
        const Packed *last = &kept.back();
        layer = {norm.data(), norm.data(), last[-4].matrix, last[-3].matrix, last[-2].matrix, last[-1].matrix, last[0].matrix};
    }
    const qwen7b_model model{2, size, forward, heads, kv_heads, head, 1e-6f, both};
    const int64_t slots = sequences * kv_heads * positions;  // of a layer
    std::vector<uint16_t> keys(2 * slots * head), values(2 * slots * head), scales(4 * slots), wide_keys(2 * slots * wide);
    std::vector<float> balance(kv_heads * head);
    for (size_t i = 0; i < balance.size(); i++) balance[i] = i % 3 ? 1 : 4;
    std::vector<int32_t> axes;
    for (int i = 0; i < kv_heads * wide; i++) axes.push_back(i * 3 % head);
    qwen7b_cache_layer cached[2];
    for (int64_t i = 0; i < 2; i++)
        cached[i] = {keys.data() + i * slots * head, values.data() + i * slots * head, scales.data() + 2 * i * slots,
                     scales.data() + (2 * i + 1) * slots, wide_keys.data() + i * slots * wide, balance.data(), axes.data(),
                     positions, i ? 20 : 0};
    const qwen7b_cache cache{cache_bits, cached};
    std::vector<float> result;
    for (auto [first, count] : {std::pair(0, 40), {40, 1}}) {
        std::vector<int32_t> sequence, position;
        std::vector<float> cosines, sines;
        for (int32_t b = 0; b < sequences; b++)
            for (int32_t p = first; p < first + count; p++) {
                sequence.push_back(b), position.push_back(p);
                for (int i = 0; i < head / 2; i++) {
                    const double angle = p * pow(10000, -2.0 * i / head);
                    cosines.push_back((float)cos(angle)), sines.push_back((float)sin(angle));
                }
            }
        const qwen7b_rows rows{(int64_t)sequence.size(), sequence.data(), position.data(), cosines.data(), sines.data(), nullptr};
        std::vector<float> x = random_floats(sequence.size() * size);
        qwen7b_run_layers(&model, &cache, &rows, 0, 2, x.data());
        result.insert(result.end(), x.begin(), x.end());
    }
    return result;
}

int main() {
    int failures = 0;
    for (const char *name : {"avx512vnni", "avxvnni", "avx2", "neon", "scalar"}) {
        if (qwen7b_use_instruction_set(name)) continue;
        for (int64_t bits : {8, 4}) {
            const Packed packed(72, 200, bits);
            for (int64_t rows : {1, 7, 30}) {
                qwen7b_use_instruction_set("scalar");
                const std::vector<float> expected = product(packed, rows);
                qwen7b_use_instruction_set(name);
                const double error = difference(product(packed, rows), expected);
                printf("%s linear %d bits, %d rows: %.1e\n", name, (int)bits, (int)rows, error);
                failures += !(error < 1e-6);
            }
        }
        for (int64_t bits : {8, 16}) {
            qwen7b_use_instruction_set("scalar");
            const std::vector<float> expected = layers(bits);
            qwen7b_use_instruction_set(name);
            const double error = difference(layers(bits), expected);
            printf("%s layers, %d-bit cache: %.1e\n", name, (int)bits, error);
            failures += !(error < 5e-3);  // where a sum's order decides a rounding to int8, more than noise follows
        }
    }
    return failures;
}
