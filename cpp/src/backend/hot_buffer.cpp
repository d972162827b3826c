#include "backend/hot_buffer.h"

#include "ggml-backend-impl.h"

#include <cstring>
#include <string>
#include <utility>

namespace edgemoe {

namespace {

HotBuffer & self(ggml_backend_buffer_t buffer) {
    return *static_cast<HotBuffer *>(buffer->context);
}

void free_nothing(ggml_backend_buffer_t) {}  // HotBuffer owns the memory; also what a HotBuffer is recognized by

void * base(ggml_backend_buffer_t buffer) {
    return self(buffer).data();
}

void clear(ggml_backend_buffer_t buffer, uint8_t value) {
    std::memset(self(buffer).data(), value, buffer->size);
}

}  // namespace

Result<std::unique_ptr<HotBuffer>> HotBuffer::allocate(ggml_backend_buffer_type_t type, size_t bytes,
                                                       ggml_threadpool_t threads) {
    Result<AlignedMemory> memory = AlignedMemory::allocate(bytes, AlignedMemory::Access::kReadWrite);
    if (!memory.is_ok()) {
        return memory.status();
    }
    std::unique_ptr<HotBuffer> hot(new HotBuffer());
    hot->memory_ = std::move(memory.value());
    hot->threads_ = threads;
    // How ggml's own buffers of this type read, write and interleave tensors; they know these by their addresses alone.
    ggml_backend_buffer_t model = ggml_backend_buft_alloc_buffer(type, 1);
    if (model == nullptr) {
        return Status(StatusCode::kOutOfBudget, "out of memory for a buffer of hot weights");
    }
    ggml_backend_buffer_i interface = model->iface;
    ggml_backend_buffer_free(model);
    interface.free_buffer = free_nothing;
    interface.get_base = base;
    interface.clear = clear;
    hot->handle_ = ggml_backend_buffer_init(type, interface, hot.get(), hot->memory_.size_bytes());
    return hot;
}

HotBuffer::~HotBuffer() {
    if (handle_ != nullptr) {
        ggml_backend_buffer_free(handle_);
    }
}

HotBuffer * hot_buffer_of(const ggml_tensor * tensor) {
    const bool hot =
        tensor != nullptr && tensor->buffer != nullptr && tensor->buffer->iface.free_buffer == free_nothing;
    return hot ? &self(tensor->buffer) : nullptr;
}

}  // namespace edgemoe
