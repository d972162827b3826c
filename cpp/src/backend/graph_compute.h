// Computes the part of a graph that llama.cpp's scheduler gave us: MUL_MAT_ID nodes over streamed experts, and MUL_MAT
// nodes over hot weights with few inputs.
#pragma once

#include "backend/expert_matmul.h"
#include "backend/hot_matmul.h"
#include "base/status.h"

#include "ggml-backend.h"
#include "ggml.h"

#include <vector>

namespace edgemoe {

// One per llama.cpp context; used by one thread at a time.
class GraphComputer {
public:
    void set_n_threads(int n_threads) { n_threads_ = n_threads; }

    // GGML_STATUS_FAILED, with the reason left in the ExpertBufferType, when an expert cannot be had. Never aborts.
    ggml_status compute(ggml_cgraph * graph);

private:
    Status compute_group(const std::vector<ggml_tensor *> & group);

    int n_threads_ = 1;
    ExpertMatmul expert_matmul_;
    HotMatmul hot_matmul_;
};

}  // namespace edgemoe
