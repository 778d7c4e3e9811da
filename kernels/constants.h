// Numbers that all kernels and their callers agree on: src/qwen7b/kernels/constants.py states them again, and the two
// are compared when the library is loaded (qwen7b_contract).
#pragma once
#include <stdint.h>

constexpr int64_t GROUP = 64;  // inputs that share a scale, of weights and of activations
constexpr int64_t LANES = 16;  // outputs, or positions in the cache, that are interleaved and computed at once
constexpr int64_t CHUNK = 128;  // positions that attention processes at once, with a softmax of their own
constexpr int64_t SPAN = 32;  // numbers of a key or value that share a scale; LANES where it does not divide the head
constexpr int64_t MAX_HEAD_SIZE = 256;
constexpr int64_t NUM_WIDE_AXES = 8;  // of each head, kept in float16 among int8 keys
constexpr int64_t MAX_THREADS = 256;

static_assert(LANES == 16, "vector/*.h are written for sixteen lanes");
static_assert(GROUP == 4 * LANES && GROUP % 8 == 0, "a group is whole vectors, and whole bytes of 4-bit codes by quads");
static_assert(CHUNK % (4 * LANES) == 0, "up to four blocks of positions are computed abreast");
static_assert(SPAN == 2 * LANES && MAX_HEAD_SIZE % SPAN == 0, "a span is one or two vectors");
static_assert(NUM_WIDE_AXES <= LANES, "the wide axes of a key go through one vector");
