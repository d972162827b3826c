// A recording of what a model's routers chose: steps of layers of experts, and the size of an expert in each layer.
// Plain values; safe to read from many threads.
#pragma once

#include "base/status.h"
#include "cache/eviction_policy.h"
#include "cache/expert_sizes.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace edgemoe {

// The distinct experts that one layer was served with in one step, in the order in which the expert store asks for
// them: the router's for one token, by number for more.
struct TraceLayer {
    int32_t layer = 0;
    std::vector<int32_t> experts;
    int32_t n_tokens = 1;
    std::vector<std::vector<int32_t>> ages;  // by place in `experts`, as in ExpertUse; may be empty for one token
    // What a predictor said of the layer's next use once it was served, for EvictionPolicy::on_scores(); empty:
    // nothing.
    std::vector<float> scores = {};

    // Borrows from this object.
    ExpertUse use(size_t place) const {
        return ages.empty() ? ExpertUse() : ExpertUse{n_tokens, ages[place].size(), ages[place].data()};
    }
};

enum class TracePhase : uint8_t { kPrompt, kDecode };

// One ubatch: a token in decode, usually many in the prompt. Layers rise.
struct TraceStep {
    TracePhase phase = TracePhase::kDecode;
    std::vector<TraceLayer> layers;
};

struct RoutingTrace {
    std::string model;  // as recorded; may be empty
    PolicyShape shape;  // every expert of `steps` lies within
    ExpertSizes sizes;  // of the same shape
    std::vector<TraceStep> steps;

    size_t n_decode_steps() const;
};

// Reads the CSV format "route_trace v1" (docs/traces.md): comment lines with the model's shape and the experts' sizes,
// then turn,phase,step,layer,slot,expert,... with phase 0 for the prompt and 1 for decode; further columns are ignored.
// Rows of the prompt that name the same layer in succession are one ubatch. Where the header has no sizes, every expert
// of a layer that occurs has `fallback_bytes`. `name` is for messages. On failure: kFormat, with the line.
Result<RoutingTrace> parse_trace(std::string_view text, const std::string & name, uint64_t fallback_bytes = 1 << 20);

// The same from a file, plain or packed by gzip. On failure also: kNotFound, kIo.
Result<RoutingTrace> read_trace_file(const std::string & path, uint64_t fallback_bytes = 1 << 20);

}  // namespace edgemoe
