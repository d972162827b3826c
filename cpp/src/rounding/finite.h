// Whether values can be calculated with.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace edgemoe {

// Whether every one of n values is a number of magnitude at most `limit`. REQUIRES: limit >= 0.
inline bool all_within(const float * values, int64_t n, float limit) {
    // Bit patterns of magnitudes are ordered like the magnitudes, infinity and NaN above all; an integer maximum is
    // vectorised.
    uint32_t greatest = 0;
    for (int64_t i = 0; i < n; ++i) {
        uint32_t bits;
        std::memcpy(&bits, values + i, sizeof(bits));
        greatest = std::max(greatest, bits & 0x7fffffffu);
    }
    uint32_t bound;
    std::memcpy(&bound, &limit, sizeof(bound));
    return greatest <= bound;
}

}  // namespace edgemoe
