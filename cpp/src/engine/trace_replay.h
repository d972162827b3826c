// A trace file replayed with the expert sizes of a model, or its own.
#pragma once

#include "base/status.h"
#include "simulate/comparison.h"
#include "simulate/trace.h"

#include <cstdint>
#include <string>
#include <vector>

namespace edgemoe {

struct ReplayOptions {
    std::string model;                // GGUF file whose expert sizes count; empty: as recorded
    uint64_t expert_bytes = 1 << 20;  // of every expert, where neither says it
    ComparisonOptions comparison;
};

struct TraceReplay {
    RoutingTrace trace;
    std::vector<ComparisonRow> rows;
};

// On failure: as read_trace_file, compare_policies and GgufSource::open; kInvalidArgument when the trace names experts
// that the model does not have.
Result<TraceReplay> replay_trace(const std::string & path, const ReplayOptions & options);

}  // namespace edgemoe
