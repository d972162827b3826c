// The activation between an expert's gate and up products and its down product, for the rows of one expert.
#pragma once

#include "backend/thread_graph.h"

#include "ggml.h"

namespace edgemoe {

// One thread at a time; one object per compute thread.
class RowActivation {
public:
    // True for a node that apply() computes: a gated activation (GGML_OP_GLU) of two float32 tensors of the same shape.
    static bool takes(const ggml_tensor * node);

    // One row of `node`, `slot` of `token`, from the same rows of its sources. The bits are ggml's: it computes rows
    // independently of each other.
    void apply(const ggml_tensor * node, int64_t slot, int64_t token);

private:
    ThreadGraph graph_;
};

}  // namespace edgemoe
