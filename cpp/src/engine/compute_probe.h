// How fast this machine multiplies a model's own matrices by one token's vector: a short run of real products.
#pragma once

#include "base/status.h"
#include "storage/expert_index.h"

namespace edgemoe {

// Bytes of weights per second that ggml multiplies on `n_threads` threads, measured on matrices of `index`'s experts
// that are read for it, for about `seconds`. Kernels for interleaved weights are not tried: where they are used the
// engine is somewhat faster. Blocks. kIo, kFormat when the experts cannot be read. REQUIRES: index is not empty.
Result<double> probe_compute(const ExpertIndex & index, int n_threads, double seconds);

}  // namespace edgemoe
