// Everything that is compiled once for each instruction set. A set's file, set_NAME.cpp, defines QWEN7B_VECTOR, includes this,
// and describes the set.
#pragma once
#include "instruction_set.h"
#include "layers.h"
#include "limits.h"
#include "linear.h"
#include "product.h"
#include "training.h"

namespace {

template <class Product> constexpr InstructionSet describe(const char *name, bool (*is_available)()) {
    return {name,           is_available,        Product::repacked_bytes, Product::repack,
            linear<Product>, run_layers<Product>, &training,               Product::count_int8,
            read_all};
}

}  // namespace
