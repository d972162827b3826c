// All that streams the experts of one model, but llama.cpp: for programs that bring their own.
#pragma once

#include "backend/expert_buffer_type.h"
#include "backend/expert_layout.h"
#include "base/status.h"
#include "engine/gguf_source.h"
#include "engine/load_options.h"
#include "engine/loaded_stores.h"
#include "engine/virtual_gguf.h"
#include "store/expert_store.h"

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

namespace edgemoe {

// One thread at a time; the statistics of store() for any.
class ExpertStreams {
public:
    // Of `options`, expert_cache_bytes (0: room for all experts), direct_io, io and eviction are used. `threads` (may
    // be null) outlives the object. Registers the device. kNotFound, kIo, kFormat, kOutOfBudget, kInvalidArgument.
    static Result<std::unique_ptr<ExpertStreams>> open(const std::string & path, const LoadOptions & options,
                                                       ggml_threadpool_t threads);
    ~ExpertStreams();

    FILE * file() const { return gguf_->stream(); }
    ggml_backend_buffer_type_t buffer_type() { return type_.handle(); }
    const ExpertStore * store() const { return store_.get(); }  // nullptr: a dense model
    // Why loading or the last computation failed, if the reason is here; forgets it.
    Status take_failure();

private:
    ExpertStreams() = default;
    Status make_store(const LoadOptions & options, ggml_threadpool_t threads);

    ExpertBufferType type_;
    std::unique_ptr<GgufSource> source_;
    std::unique_ptr<VirtualGguf> gguf_;
    std::unique_ptr<ExpertLayout> layout_;
    std::unique_ptr<ExpertStore> store_;
    std::unique_ptr<LoadedStore> loaded_store_;
};

}  // namespace edgemoe
