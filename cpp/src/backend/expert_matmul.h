// Multiplies the routed experts of one layer with ggml's own kernels, each as soon as its matrix has arrived.
#pragma once

#include "backend/expert_buffer_type.h"
#include "backend/parallel_run.h"
#include "base/status.h"

#include "ggml.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

namespace edgemoe {

// Nodes of one layer that are computed together; borrowed.
struct ExpertGroup {
    // MUL_MAT_ID nodes over tensors of one ExpertBufferType that share their ids and do not depend on each other:
    // src[0] [columns, rows, n_expert], src[1] float32 [columns, 1 or n_used, n_tokens], src[2] int32 [n_used,
    // n_tokens], result float32 [rows, n_used, n_tokens].
    std::vector<ggml_tensor *> products;
    // Both or neither: the activation of two of the products (RowActivation::takes), and the product of the same
    // experts with it. An expert goes from one to the next without waiting for the others.
    const ggml_tensor * activation = nullptr;
    ggml_tensor * down = nullptr;
};

// Keeps what is reused from call to call (scratch memory of each compute thread). One thread at a time.
class ExpertMatmul {
public:
    ExpertMatmul();
    ~ExpertMatmul();

    // Equal to the last bit to ggml's own nodes on the CPU, at any thread count: every row of a result is one dot
    // product by the same kernel, whichever thread computes it and whenever. kCancelled after a cancel
    // (ExpertBufferType::set_cancel_flag), the results then unfinished.
    Status compute(ExpertBufferType & type, const ExpertGroup & group, int n_threads);

    // Bytes of scratch memory that a ubatch of `n_tokens` tokens may need, all threads together.
    static uint64_t scratch_bytes(const ExpertIndex & index, int64_t n_tokens, int n_threads);

private:
    struct Worker;
    struct Job;
    static void run(void * job, int thread);

    std::vector<std::unique_ptr<Worker>> workers_;  // by thread
    ParallelRun parallel_;
    // The layer that was computed last, and when it was done.
    int32_t last_layer_ = -1;
    std::chrono::steady_clock::time_point last_end_;
    // The results of ExpertGroup::down: ggml may have placed them where it expects the products to be no longer needed,
    // which they are while other experts are not as far.
    std::vector<char> down_;
};

}  // namespace edgemoe
