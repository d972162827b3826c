// Aligned buffers that reads land in before their rows are converted into a slot. Not thread-safe.
#pragma once

#include <cstddef>
#include <vector>

namespace edgemoe {

class StagingPool {
public:
    // `n_buffers` buffers of `buffer_bytes` bytes (a multiple of kDirectAlignment) in `memory`, which begins at such a
    // multiple and outlives the pool.
    StagingPool(std::byte * memory, size_t n_buffers, size_t buffer_bytes);

    bool empty() const { return free_.empty(); }
    size_t take();                  // REQUIRES: !empty()
    void give_back(size_t buffer);  // REQUIRES: taken
    std::byte * data(size_t buffer) const { return memory_ + buffer * buffer_bytes_; }
    size_t buffer_bytes() const { return buffer_bytes_; }

private:
    std::byte * memory_;
    size_t buffer_bytes_;
    std::vector<size_t> free_;
};

}  // namespace edgemoe
