// Buffers for hot weights: of the type that llama.cpp chose, so that ggml multiplies what lies in them as always, but
// in memory of our own, and recognizable to our device, which multiplies with them faster (backend/hot_matmul.h).
#pragma once

#include "base/status.h"
#include "storage/aligned_memory.h"

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

#include <cstddef>
#include <memory>

namespace edgemoe {

// Owns the buffer and its memory. REQUIRES: outlives the tensors that lie in it.
class HotBuffer {
public:
    // `type`: ggml's CPU buffer type or one of its interleaving ones. `threads`: the pool that the llama.cpp contexts
    // compute with; outlives the buffer. kOutOfBudget.
    static Result<std::unique_ptr<HotBuffer>> allocate(ggml_backend_buffer_type_t type, size_t bytes,
                                                       ggml_threadpool_t threads);
    ~HotBuffer();
    HotBuffer(const HotBuffer &) = delete;
    HotBuffer & operator=(const HotBuffer &) = delete;

    ggml_backend_buffer_t handle() const { return handle_; }
    std::byte * data() const { return memory_.data(); }
    ggml_threadpool_t threads() const { return threads_; }

private:
    HotBuffer() = default;

    AlignedMemory memory_;
    ggml_backend_buffer_t handle_ = nullptr;
    ggml_threadpool_t threads_ = nullptr;
};

// The buffer that `tensor` lies in, or nullptr if that is of another kind.
HotBuffer * hot_buffer_of(const ggml_tensor * tensor);

}  // namespace edgemoe
