// Vectors of a panel's lanes. The types are GCC's and Clang's; where the machine has shorter registers the compiler
// uses several.
#pragma once

#include <cstdint>
#include <cstring>

#include "rounding/panel.h"

namespace edgemoe {

typedef float FloatVector __attribute__((vector_size(kVector * sizeof(float))));
typedef int32_t IntVector __attribute__((vector_size(kVector * sizeof(int32_t))));
typedef uint8_t ByteVector __attribute__((vector_size(kVector)));

inline FloatVector load(const float * from) {
    FloatVector v;
    std::memcpy(&v, from, sizeof(v));
    return v;
}

inline void store(float * to, const FloatVector & v) {
    std::memcpy(to, &v, sizeof(v));
}

inline FloatVector splat(float value) {
    return value - FloatVector{};
}

inline FloatVector least(const FloatVector & a, const FloatVector & b) {
    return a < b ? a : b;
}

// `b` where `a` is not a number.
inline FloatVector greatest(const FloatVector & a, const FloatVector & b) {
    return a > b ? a : b;
}

inline FloatVector to_float(const IntVector & v) {
    return __builtin_convertvector(v, FloatVector);
}

// Rounds towards zero. REQUIRES: values that an int32_t holds.
inline IntVector to_int(const FloatVector & v) {
    return __builtin_convertvector(v, IntVector);
}

// REQUIRES: 0 <= values <= 255.
inline void store_bytes(uint8_t * to, const IntVector & v) {
    const ByteVector bytes = __builtin_convertvector(v, ByteVector);
    std::memcpy(to, &bytes, sizeof(bytes));
}

}  // namespace edgemoe
