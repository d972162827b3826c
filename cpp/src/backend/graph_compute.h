// Computes the part of a graph that llama.cpp's scheduler gave us: MUL_MAT_ID nodes over streamed experts.
#pragma once

#include "backend/expert_matmul.h"

#include "ggml-backend.h"
#include "ggml.h"

namespace edgemoe {

// One per llama.cpp context; used by one thread at a time.
class GraphComputer {
public:
    void set_n_threads(int n_threads) { n_threads_ = n_threads; }

    // GGML_STATUS_FAILED, with the reason left in the ExpertBufferType, when an expert cannot be had. Never aborts.
    ggml_status compute(ggml_cgraph * graph);

private:
    int n_threads_ = 1;
    ExpertMatmul matmul_;
};

}  // namespace edgemoe
