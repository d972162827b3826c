// Runs a function on every thread of the pool that a llama.cpp context computes with: a graph of one custom node.
#pragma once

#include "ggml-cpu.h"
#include "ggml.h"

#include <cstdint>
#include <vector>

namespace edgemoe {

// Keeps its memory from call to call. One thread at a time.
class ParallelRun {
public:
    ParallelRun();

    // `work(data, thread)` for thread = 0 .. n_threads - 1, at once; returns when all have. No exception may leave
    // `work`: it is called by ggml.
    using Work = void (*)(void * data, int thread);
    void run(ggml_threadpool_t pool, int n_threads, Work work, void * data);

private:
    std::vector<uint8_t> metadata_;
    std::vector<uint8_t> plan_work_;
};

}  // namespace edgemoe
