#include "store/staging_pool.h"

namespace edgemoe {

Result<StagingPool> StagingPool::create(size_t n_buffers, size_t buffer_bytes) {
    Result<AlignedMemory> memory = AlignedMemory::allocate(n_buffers * buffer_bytes, AlignedMemory::Access::kReadWrite);
    if (!memory.is_ok()) {
        return memory.status();
    }
    StagingPool pool;
    pool.memory_ = std::move(memory).value();
    pool.buffer_bytes_ = buffer_bytes;
    for (size_t i = n_buffers; i > 0; i--) {
        pool.free_.push_back(i - 1);
    }
    return pool;
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
