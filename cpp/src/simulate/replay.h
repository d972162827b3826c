// A recorded trace replayed through the real ExpertCache and the real policies, to see what a budget and a policy cost
// before anything is read. Makes the same calls in the same order as the expert store does.
#pragma once

#include "base/status.h"
#include "cache/belady.h"
#include "simulate/trace.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace edgemoe {

// Of one expert, over the decode steps.
struct ExpertTraffic {
    uint64_t misses = 0;
    uint64_t resident_steps = 0;  // steps that it spent in the cache
};

// What was counted over the decode steps. The prompt is replayed too, to warm the cache, and not counted.
struct ReplayResult {
    uint64_t decode_tokens = 0;
    uint64_t requests = 0;  // experts asked for: one per expert, layer and step
    uint64_t hits = 0;
    uint64_t missed_bytes = 0;
    uint64_t evictions = 0;
    std::vector<ExpertTraffic> experts;  // by layer * shape.n_experts + expert

    double hit_rate() const { return requests == 0 ? 0.0 : static_cast<double>(hits) / static_cast<double>(requests); }
    double missed_bytes_per_token() const {
        return decode_tokens == 0 ? 0.0 : static_cast<double>(missed_bytes) / static_cast<double>(decode_tokens);
    }
};

// For each step and layer: all uses are recorded; the resident experts are pinned; the absent ones are inserted and
// pinned in the order of the list, each a miss; all are unpinned. A prompt's experts pass through the cache where the
// store would let them (cache/streaming_rule.h). When the pinned ones leave no room, the layer is served in waves:
// those served so far are unpinned, and the rest goes on. An expert larger than the whole budget is a miss each time;
// its matrices, which a trace does not have, are three of one size if that comes out even. On failure:
// kInvalidArgument, for an unknown policy name. REQUIRES: a trace as parse_trace returns it.
Result<ReplayResult> replay(const RoutingTrace & trace, const std::string & policy_name, uint64_t budget_bytes);

// The bound for the same trace and budget (cache/belady.h).
BeladyResult replay_belady(const RoutingTrace & trace, uint64_t budget_bytes);

}  // namespace edgemoe
