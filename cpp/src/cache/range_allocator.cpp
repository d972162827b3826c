// Invariants: free_ rises by offset, none is empty, no two touch or overlap; free_bytes_ is their sum. A flat list,
// because a full arena has few free ranges, far fewer than slots.
#include "cache/range_allocator.h"

#include <algorithm>
#include <cassert>
#include <iterator>

namespace edgemoe {

RangeAllocator::RangeAllocator(uint64_t bytes) : free_bytes_(bytes) {
    constexpr size_t kUsualRanges = 256;
    free_.reserve(kUsualRanges);
    if (bytes > 0) {
        free_.push_back({0, bytes});
    }
}

bool RangeAllocator::take(uint64_t bytes, uint64_t * offset) {
    assert(bytes > 0);
    auto best = free_.end();
    for (auto range = free_.begin(); range != free_.end(); ++range) {
        if (range->bytes >= bytes && (best == free_.end() || range->bytes < best->bytes)) {
            best = range;
        }
    }
    if (best == free_.end()) {
        return false;
    }
    *offset = best->offset;
    best->offset += bytes;
    best->bytes -= bytes;
    free_bytes_ -= bytes;
    if (best->bytes == 0) {
        free_.erase(best);
    }
    return true;
}

void RangeAllocator::give_back(uint64_t offset, uint64_t bytes) {
    free_bytes_ += bytes;
    const auto next = std::lower_bound(free_.begin(), free_.end(), offset,
                                       [](const Range & range, uint64_t value) { return range.offset < value; });
    const bool touches_next = next != free_.end() && offset + bytes == next->offset;
    if (next != free_.begin()) {
        const auto previous = std::prev(next);
        assert(previous->offset + previous->bytes <= offset && "the range was taken");
        if (previous->offset + previous->bytes == offset) {
            previous->bytes += bytes;
            if (touches_next) {
                previous->bytes += next->bytes;
                free_.erase(next);
            }
            return;
        }
    }
    if (touches_next) {
        next->offset = offset;
        next->bytes += bytes;
    } else {
        free_.insert(next, {offset, bytes});
    }
}

}  // namespace edgemoe
