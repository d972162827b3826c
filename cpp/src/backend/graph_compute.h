// Computes the part of a graph that llama.cpp's scheduler gave us: products of streamed experts with the activation
// between them, products of hot weights with few inputs, and rows of tables on flash.
#pragma once

#include "backend/expert_matmul.h"
#include "backend/hot_matmul.h"
#include "backend/row_activation.h"
#include "backend/row_gather.h"
#include "base/status.h"

#include "ggml-backend.h"
#include "ggml.h"

#include <vector>

namespace edgemoe {

// One per llama.cpp context; used by one thread at a time.
class GraphComputer {
public:
    // True for the nodes that compute() knows: products of streamed experts and what follows them, and of hot weights.
    static bool takes(const ggml_tensor * node);

    void set_n_threads(int n_threads) { n_threads_ = n_threads; }

    // GGML_STATUS_ABORTED after a cancel. GGML_STATUS_FAILED, with the reason left in the ExpertBufferType, when an
    // expert or a row cannot be had. Never aborts the process.
    ggml_status compute(ggml_cgraph * graph);

private:
    Status gather_rows(ggml_tensor * node);
    Status compute_some(const std::vector<ggml_tensor *> & nodes, size_t * i);
    void activate(const ggml_tensor * node);

    int n_threads_ = 1;
    ExpertMatmul expert_matmul_;
    HotMatmul hot_matmul_;
    RowActivation activation_;
    RowGather gather_;
};

}  // namespace edgemoe
