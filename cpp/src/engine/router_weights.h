// The weights of a layer's router, as a model file has them.
#pragma once

#include "base/status.h"
#include "engine/gguf_source.h"

#include <cstdint>
#include <vector>

namespace edgemoe {

struct RouterWeights {
    int64_t n_columns = 0;
    int64_t n_experts = 0;
    std::vector<float> values;  // [n_experts, n_columns]; empty: there are none of this name and shape

    bool known() const { return !values.empty(); }
};

// False where read_router() would not know them. Reads nothing.
bool has_router(const GgufSource & source, int32_t layer, int64_t n_columns, int64_t n_experts);

// Of "blk.LAYER.ffn_gate_inp.weight". Not known where the file has no such matrix of `n_columns` x `n_experts`, or ggml
// cannot dequantize it. kIo.
Result<RouterWeights> read_router(const GgufSource & source, int32_t layer, int64_t n_columns, int64_t n_experts);

}  // namespace edgemoe
