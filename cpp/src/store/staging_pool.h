// Aligned buffers that reads land in before their rows are converted into a slot. Not thread-safe.
#pragma once

#include "base/status.h"
#include "storage/aligned_memory.h"

#include <cstddef>
#include <vector>

namespace edgemoe {

class StagingPool {
public:
    // `n_buffers` buffers of `buffer_bytes` bytes (a multiple of kDirectAlignment).
    static Result<StagingPool> create(size_t n_buffers, size_t buffer_bytes);

    bool empty() const { return free_.empty(); }
    size_t take();                  // REQUIRES: !empty()
    void give_back(size_t buffer);  // REQUIRES: taken
    std::byte * data(size_t buffer) const { return memory_.data() + buffer * buffer_bytes_; }
    size_t buffer_bytes() const { return buffer_bytes_; }

private:
    StagingPool() = default;
    AlignedMemory memory_;
    size_t buffer_bytes_ = 0;
    std::vector<size_t> free_;
};

}  // namespace edgemoe
