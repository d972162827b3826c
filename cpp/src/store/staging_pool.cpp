#include "store/staging_pool.h"

namespace edgemoe {

StagingPool::StagingPool(std::byte * memory, size_t n_buffers, size_t buffer_bytes)
    : memory_(memory), buffer_bytes_(buffer_bytes) {
    for (size_t i = n_buffers; i > 0; i--) {
        free_.push_back(i - 1);
    }
}

size_t StagingPool::take() {
    const size_t buffer = free_.back();
    free_.pop_back();
    return buffer;
}

void StagingPool::give_back(size_t buffer) {
    free_.push_back(buffer);
}

}  // namespace edgemoe
