// Helpers for inner loops, beside the vectors.
#pragma once
#include <stdint.h>

#include <utility>

#if defined(__GNUC__)
#define NOT_INLINED __attribute__((noinline))
#else
#define NOT_INLINED
#endif

namespace {

constexpr int64_t PREFETCH_DISTANCE = 4096;

inline void prefetch(const void *from, int64_t num_bytes) {
#if defined(__GNUC__)
    for (int64_t ahead = 0; ahead < num_bytes; ahead += 64) __builtin_prefetch((const char *)from + ahead);
#else
    (void)from, (void)num_bytes;
#endif
}

// body(0), body(1), ... with constants, so that arrays indexed by them live in registers.
template <class Body, int... i> inline void each(Body body, std::integer_sequence<int, i...>) {
    (body(std::integral_constant<int, i>()), ...);
}
template <int count, class Body> inline void each(Body body) { each(body, std::make_integer_sequence<int, count>()); }

// body(n) with a constant n that equals `count`, one of 1..max.
template <int max, class Body> inline void with_constant(int64_t count, Body body) {
    if constexpr (max > 1)
        if (count < max) return with_constant<max - 1>(count, body);
    body(std::integral_constant<int, max>());
}

inline int64_t round_up(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

}  // namespace
