// What loading a model would give, found out without loading it: does it fit, in which mode, and about how fast.
#pragma once

#include "base/status.h"
#include "engine/load_options.h"
#include "engine/memory_plan.h"

#include <cstdint>
#include <string>

namespace edgemoe {

struct PlanOptions {
    double probe_seconds = 1.0;  // for the disk and again for computing; 0: neither is tried
};

// Missed bytes: expert bytes that a token has to read.
struct Plan {
    MemoryPlan memory;
    const char * mode = "";      // "streamed", "resident", "dense", or "none": it does not fit
    uint64_t ceiling_bytes = 0;  // in force; 0 if only the cache was given
    uint64_t cache_bytes = 0;    // of the expert cache; 0 where nothing is streamed or it does not fit
    uint64_t n_experts = 0;      // of all layers
    uint64_t n_experts_cached = 0;
    uint64_t token_expert_bytes = 0;  // what one token's experts take

    // Every expert equally likely: no cache hits more than the share that it holds. Nothing real is worse for long.
    double missed_bytes_uniform = 0;
    // As the default policy did on routing of real models (docs/cache.md).
    double missed_bytes_typical = 0;

    // Measured just now; 0 without a probe, or where nothing is streamed.
    const char * io = "none";          // I/O engine that was probed
    uint64_t read_bytes = 0;           // mean size of a read
    double disk_bytes_per_second = 0;  // of experts, without what reads have beside them
    double compute_seconds = 0;        // of one token with every expert resident

    // An estimate. Slow end: uniform routing, reading and computing one after the other. Fast end: typical routing,
    // all that can be overlapped overlapped. 0 without a probe.
    double tokens_per_second_slow = 0;
    double tokens_per_second_fast = 0;
};

// Fails as Model::describe() does, or when a probe cannot read. A figure that cannot be met is no failure: mode "none".
Result<Plan> make_plan(const std::string & path, const LoadOptions & options, const PlanOptions & plan_options);

// The share of a token's expert bytes that a cache of `share` (0..1) of all experts' bytes missed on real routing.
double typical_missed_share(double share);

}  // namespace edgemoe
