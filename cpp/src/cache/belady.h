// Belady's bound: the least bytes that any policy could have read on a recorded trace at a budget (L. A. Belady, "A
// study of replacement algorithms", 1966). Offline: it looks into the future. Pure functions.
#pragma once

#include "base/expert_id.h"
#include "cache/expert_sizes.h"

#include <cstdint>
#include <vector>

namespace edgemoe {

// The experts that one layer is served with at one time; all of them must be in the cache at once.
struct ExpertDemand {
    int32_t layer = 0;
    std::vector<int32_t> experts;  // distinct
    bool counted = true;           // false: the prompt, which warms the cache at no cost
};

struct BeladyResult {
    uint64_t requests = 0;  // experts asked for in counted demands
    uint64_t missed_bytes = 0;
    double misses = 0;  // a partly resident expert is a part of a miss
    double hit_rate() const { return requests == 0 ? 0.0 : 1.0 - misses / static_cast<double>(requests); }
};

// A true lower bound of any ExpertCache's missed bytes: the experts of the layer being served
// are pinned as there, but bytes of experts may be kept in part and anywhere, and when counting begins the cache holds
// what is best of all that was seen before. With sizes that are equal and divide the budget, nothing is kept in part.
// REQUIRES: every expert asked for has a size.
BeladyResult belady(const std::vector<ExpertDemand> & demands, const ExpertSizes & sizes, uint64_t budget_bytes);

}  // namespace edgemoe
