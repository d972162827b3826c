// Graphs of one node, computed by ggml on the calling thread alone.
#pragma once

#include "ggml-cpu.h"
#include "ggml.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace edgemoe {

// Keeps its memory from call to call. One thread at a time; one object per compute thread.
class ThreadGraph {
public:
    ThreadGraph();

    // An empty context, which allocates no tensor data, for the node and its sources. Valid until compute().
    ggml_context * begin();
    // Computes `node`, whose sources and own data are set, and ends the context.
    void compute(ggml_tensor * node);

private:
    struct ThreadPoolDeleter {
        void operator()(ggml_threadpool * pool) const { ggml_threadpool_free(pool); }
    };
    struct ContextDeleter {
        void operator()(ggml_context * context) const { ggml_free(context); }
    };

    std::unique_ptr<ggml_threadpool, ThreadPoolDeleter> pool_;
    std::vector<uint8_t> metadata_;
    std::unique_ptr<ggml_context, ContextDeleter> context_;
    std::vector<uint8_t> work_;
};

}  // namespace edgemoe
