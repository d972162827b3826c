// How a model's graph makes the down projection's input out of an expert's gate and up products: taken from the graph,
// kept as a list of ggml operations, and repeated for one expert at a time.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"

#include "ggml.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace edgemoe {

// One operation. Elementwise over [width, n_tokens], so that it can be repeated for the tokens of one expert.
struct ActivationStep {
    enum class Kind : uint8_t {
        kProduct,   // the product of the expert's matrix `projection` with the FFN input
        kBias,      // src[0] plus the expert's row of the tensor `tensor`
        kScale,     // src[0] times the expert's number in the tensor `tensor`
        kPart,      // elements [first, first + width) of each row of src[0]
        kOperation  // the ggml operation `op` with `params` on src[0] and, if it is not -1, src[1]
    };
    Kind kind = Kind::kOperation;
    Projection projection = Projection::kGate;
    std::string tensor;
    int64_t first = 0;
    int64_t width = 0;
    ggml_op op = GGML_OP_NONE;
    std::array<int32_t, GGML_MAX_OP_PARAMS / sizeof(int32_t)> params{};
    std::array<int32_t, 2> src = {-1, -1};  // steps before this one
};

// Value type.
struct ActivationChain {
    std::vector<ActivationStep> steps;  // the last one is the down projection's input
    std::string refusal;                // why there are none: what in the graph is not understood

    bool known() const { return !steps.empty(); }

    // From the graph: `down` is the MUL_MAT_ID node of a layer's down projection.
    static ActivationChain of(const ggml_tensor * down, int32_t layer);

    // To and from bytes, for files. kFormat for bytes that are no chain.
    std::vector<uint8_t> encode() const;
    static Result<ActivationChain> decode(const uint8_t * data, size_t size);
};

// The tensor of one number for each expert that `node` multiplies with, looked up by the routed experts; nullptr if it
// is another kind of node.
const ggml_tensor * scale_of_experts(const ggml_tensor * node);

}  // namespace edgemoe
