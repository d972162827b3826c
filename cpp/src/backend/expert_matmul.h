// Multiplies the routed experts of one layer with ggml's own kernels, each as soon as its matrix has arrived.
#pragma once

#include "backend/expert_buffer_type.h"
#include "backend/parallel_run.h"
#include "base/status.h"

#include "ggml.h"

#include <memory>
#include <vector>

namespace edgemoe {

// Keeps what is reused from call to call (scratch memory of each compute thread). One
// thread at a time.
class ExpertMatmul {
public:
    ExpertMatmul();
    ~ExpertMatmul();

    // `nodes`: MUL_MAT_ID nodes over tensors of `type` that share their ids and do not depend on each other, all of one
    // layer: src[0] [columns, rows, n_expert], src[1] float32 [columns, 1 or n_used, n_tokens], src[2] int32 [n_used,
    // n_tokens], result float32 [rows, n_used, n_tokens]. Equal to the last bit to ggml's own MUL_MAT_ID on the CPU, at
    // any thread count: every row of a result is one dot product by the same kernel, whichever thread computes it and
    // whenever.
    Status compute(ExpertBufferType & type, const std::vector<ggml_tensor *> & nodes, int n_threads);

    // Bytes of scratch memory that a ubatch of `n_tokens` tokens may need, all threads together.
    static uint64_t scratch_bytes(const ExpertIndex & index, int64_t n_tokens, int n_threads);

private:
    struct Worker;
    struct Job;
    static void run(void * job, int thread);

    std::vector<std::unique_ptr<Worker>> workers_;  // by thread
    ParallelRun parallel_;
};

}  // namespace edgemoe
