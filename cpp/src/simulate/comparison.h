// Policies side by side on one trace, with the bound beside them: what `edgemoe plan --trace` prints.
#pragma once

#include "base/status.h"
#include "simulate/trace.h"

#include <cstdint>
#include <string>
#include <vector>

namespace edgemoe {

// The row of Belady's bound has this name.
constexpr const char * kBoundName = "belady";

// One policy at one cache size, over the decode steps of the trace.
struct ComparisonRow {
    std::string policy;  // or kBoundName
    uint64_t cache_bytes = 0;
    double cache_share = 0;  // of all experts' bytes
    uint64_t requests = 0;
    uint64_t hits = 0;  // 0 for the bound, which may keep experts in part
    double hit_rate = 0;
    double missed_bytes_per_token = 0;
    double ratio_to_lru = 0;    // of missed bytes; 1 where LRU misses nothing either
    double ratio_to_bound = 0;  // the same; 1: nothing is left to gain
};

struct ComparisonOptions {
    std::vector<std::string> policies;  // by name; empty: every policy but aliases
    std::vector<double> shares;         // of all experts' bytes, each > 0 and <= 1
    std::vector<uint64_t> cache_bytes;  // beside the shares; both empty: 5%, 10%, 20% and 30%
};

// Rows by cache size in the order given (shares first), by policy in the order given, the bound last. On failure:
// kInvalidArgument for an unknown policy, a share that is none, or a trace that has no decode steps.
Result<std::vector<ComparisonRow>> compare_policies(const RoutingTrace & trace, const ComparisonOptions & options);

}  // namespace edgemoe
