// Memory for the tensors of a model that was laid out without any (engine/model_layout.h), and the hot ones read into
// it at the speed of the disk: several direct reads in flight, each arrival interleaved or copied from its read buffer
// straight into place, on as many threads as compute later.
#pragma once

#include "backend/hot_buffer.h"
#include "base/status.h"
#include "engine/gguf_source.h"
#include "storage/async_reader.h"

#include "ggml-backend.h"
#include "llama.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace edgemoe {

// Owns the buffers. Outlives the model.
class HotWeights {
public:
    // Gives every tensor of `model` an address in a buffer of the type that llama.cpp chose, and makes contexts over
    // the model real. REQUIRES: `model` comes from lay_out_model(). Names in `in_memory` are given
    // memory although they were laid out to stay on flash. `threads`: the pool that contexts compute with;
    // outlives the object. `lock`: hot weights stay out of swap. kOutOfBudget.
    static Result<std::unique_ptr<HotWeights>> allocate(llama_model & model, const std::set<std::string> & in_memory,
                                                        ggml_threadpool_t threads, bool lock);
    ~HotWeights();
    HotWeights(const HotWeights &) = delete;
    HotWeights & operator=(const HotWeights &) = delete;

    // Fills the tensors that `source` does not stream. On failure the weights must not be used: kIo, kFormat (the file
    // was truncated since it was opened), kCancelled (`progress` said stop), kOutOfBudget; names file and tensor.
    Status read(const GgufSource & source, AsyncReader & reader, const std::function<bool(float)> & progress,
                int n_threads, size_t n_buffers);

private:
    HotWeights() = default;
    std::vector<std::unique_ptr<HotBuffer>> hot_;
    std::vector<ggml_backend_buffer_t> flash_addresses_;
    std::vector<ggml_tensor *> tensors_;  // in memory
};

}  // namespace edgemoe
