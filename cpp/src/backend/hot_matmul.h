// Products of hot weights with few inputs, which is what generating a token consists of beside its experts: cut into
// stretches that are fetched into the cache before they are multiplied (backend/row_product.h).
#pragma once

#include "backend/parallel_run.h"
#include "backend/row_product.h"

#include "ggml.h"

#include <memory>
#include <vector>

namespace edgemoe {

// Keeps scratch memory from call to call. One thread at a time.
class HotMatmul {
public:
    // True for a MUL_MAT node that compute() takes: weights of a quantized type in a HotBuffer, not small, and few
    // inputs. ggml itself is as fast at others.
    static bool takes(const ggml_tensor * node);

    // `nodes`: do not depend on each other, and takes() each. Equal to ggml's own MUL_MAT on the CPU to the last bit.
    void compute(const std::vector<ggml_tensor *> & nodes, int n_threads);

private:
    struct Job;
    ParallelRun parallel_;
    std::vector<std::unique_ptr<RowProduct>> products_;  // by thread
};

}  // namespace edgemoe
