// Which ranges of an arena are free: best fit, and freed neighbours are merged. Bookkeeping only. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgemoe {

class RangeAllocator {
public:
    struct Range {
        uint64_t offset = 0;
        uint64_t bytes = 0;
    };

    // All of [0, bytes) is free.
    explicit RangeAllocator(uint64_t bytes);

    // Takes `bytes` from the smallest free range that is large enough, of equals from the lowest. False, and *offset
    // untouched, when there is none. REQUIRES: bytes > 0. O(free ranges); allocates nothing.
    [[nodiscard]] bool take(uint64_t bytes, uint64_t * offset);

    // REQUIRES: taken. Allocates only when there are more free ranges than there ever were.
    void give_back(uint64_t offset, uint64_t bytes);

    uint64_t free_bytes() const { return free_bytes_; }
    const std::vector<Range> & free_ranges() const { return free_; }  // by rising offset; no two touch

private:
    std::vector<Range> free_;
    uint64_t free_bytes_ = 0;
};

}  // namespace edgemoe
