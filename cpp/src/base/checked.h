// Arithmetic on sizes and offsets that come from files: overflow is reported, never wrapped.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgemoe {

// Sets *sum to a + b and returns true, or returns false when the sum does not fit 64 bits.
[[nodiscard]] inline bool checked_add(uint64_t a, uint64_t b, uint64_t * sum) {
    return !__builtin_add_overflow(a, b, sum);
}

// Sets *product to a * b and returns true, or returns false when the product does not fit 64 bits.
[[nodiscard]] inline bool checked_mul(uint64_t a, uint64_t b, uint64_t * product) {
    return !__builtin_mul_overflow(a, b, product);
}

// `value` rounded down / up to a multiple of `alignment`. REQUIRES: alignment is a power of two, no overflow.
constexpr uint64_t align_down(uint64_t value, uint64_t alignment) {
    return value & ~(alignment - 1);
}
constexpr uint64_t align_up(uint64_t value, uint64_t alignment) {
    return align_down(value + alignment - 1, alignment);
}

}  // namespace edgemoe
