// A recording of what a model's routers chose: steps of layers of experts, and the size of an expert in each layer.
// Plain values; safe to read from many threads.
#pragma once

#include "base/status.h"
#include "cache/eviction_policy.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace edgemoe {

// The distinct experts that one layer was served with in one step, in the order in which they were first chosen.
struct TraceLayer {
    int32_t layer = 0;
    std::vector<int32_t> experts;
};

enum class TracePhase : uint8_t { kPrompt, kDecode };

// One ubatch: a token in decode, usually many in the prompt. Layers rise.
struct TraceStep {
    TracePhase phase = TracePhase::kDecode;
    std::vector<TraceLayer> layers;
};

struct RoutingTrace {
    std::string model;                   // as recorded; may be empty
    PolicyShape shape;                   // every expert of `steps` lies within
    std::vector<uint64_t> expert_bytes;  // of one expert, by layer; 0: the layer has no experts
    std::vector<TraceStep> steps;

    uint64_t all_experts_bytes() const;  // of all experts of the model
    size_t n_decode_steps() const;
};

// Reads the CSV format "route_trace v1": comment lines with the model's shape and the experts' sizes, then
// turn,phase,step,layer,slot,expert,... with phase 0 for the prompt and 1 for decode; further columns are ignored. Rows
// of the prompt that name the same layer in succession are one ubatch. `name` is for messages. On failure: kFormat,
// with the line.
Result<RoutingTrace> parse_trace(std::string_view text, const std::string & name);

}  // namespace edgemoe
