// Vectors of sixteen lanes on one instruction set, and functions written once on top of them.
//
// A set's file names its vector header in QWEN7B_VECTOR before it includes anything; the default is scalar.h, so that
// every header compiles alone. Everything that depends on it is in unnamed namespaces: each set's file has its own, and
// the linker never takes one set's function for another's.
#pragma once
#include <stdint.h>

#include "constants.h"

#ifndef QWEN7B_VECTOR
#define QWEN7B_VECTOR "vector/scalar.h"
#endif
#include QWEN7B_VECTOR

namespace {

void store_part(float *to, int64_t count, Floats value) {
    if (count >= LANES) return store(to, value);
    float spread[LANES];
    store(spread, value);
    for (int64_t i = 0; i < count; i++) to[i] = spread[i];
}

Floats load_part(const float *from, int64_t count) {
    if (count >= LANES) return load(from);
    float spread[LANES] = {};
    for (int64_t i = 0; i < count; i++) spread[i] = from[i];
    return load(spread);
}

Floats exponential(Floats x) {  // 2^n · e^r with |r| <= ln 2 / 2; Cephes' polynomial
    x = max(x, all(-88.0f));  // where the result is 0
    const Floats n = round(mul(x, all(1.44269504f)));
    Floats r = fma(n, all(-0.693359375f), x);
    r = fma(n, all(2.12194440e-4f), r);
    Floats p = all(1.9875691500e-4f);
    p = fma(p, r, all(1.3981999507e-3f));
    p = fma(p, r, all(8.3334519073e-3f));
    p = fma(p, r, all(4.1665795894e-2f));
    p = fma(p, r, all(1.6666665459e-1f));
    p = fma(p, r, all(5.0000001201e-1f));
    p = add(fma(mul(r, r), p, r), all(1));
    return mul(p, power_of_two(n));
}

}  // namespace
