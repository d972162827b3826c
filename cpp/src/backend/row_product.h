// Products of some rows of a matrix, on the calling thread alone, by ggml's kernels.
#pragma once

#include "backend/thread_graph.h"

#include "ggml.h"

#include <cstdint>
#include <vector>

namespace edgemoe {

// One input of a matrix, and where its results go; borrowed.
struct RowProductVector {
    const void * input = nullptr;  // float32, as many as the matrix has columns
    void * output = nullptr;       // float32, as many as there are rows
};

// Which of ggml's operations multiplies several inputs.
enum class RowProductKernel : uint8_t {
    kOneByOne,  // MUL_MAT_ID's: each input by itself
    kBatch,     // MUL_MAT's, which may multiply several inputs at once
};

// Keeps scratch memory from call to call. One thread at a time; one object per compute thread.
class RowProduct {
public:
    // Bytes of a matrix that are best multiplied at a time: they are fetched into this thread's share of the cache
    // before the kernel runs. ggml's kernels wait for memory at each block of weights (a third of the machine's
    // bandwidth, measured in docs/compute.md); fetching a stretch of weights first keeps many loads in flight.
    static constexpr int64_t kStretchBytes = 128 * 1024;

    // `weights`: [columns, n_rows, 1], as ExpertLayout::describe fills it in. `op_params`: of the ggml node whose part
    // this is. The results of kOneByOne are those of ggml's MUL_MAT_ID, bit for bit.
    void multiply(const ggml_tensor & weights, const std::vector<RowProductVector> & vectors, RowProductKernel kernel,
                  const int32_t * op_params);

    // Bytes of scratch memory for `n` inputs.
    static uint64_t scratch_bytes(int64_t columns, int64_t n_rows, int64_t n);

private:
    ThreadGraph graph_;
    std::vector<int32_t> zeros_;
    std::vector<char> inputs_;
    std::vector<char> outputs_;
};

// True if ggml's MUL_MAT gives the bits of its MUL_MAT_ID for matrices of this type, shape and place. Tried on random
// numbers: kernels that add in another order differ in most results.
bool batch_kernel_is_exact(const ggml_tensor & weights_shape);

}  // namespace edgemoe
