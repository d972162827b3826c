// When a layer's experts pass through the cache instead of settling in it: prompts touch nearly every expert of every
// layer, and would flush those that decode wants. Immutable, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace edgemoe {

// What experts that pass through may take of the cache.
struct StreamLimits {
    uint64_t layer_bytes = 0;   // up to here a layer's experts settle in room that is free or was filled in vain
    uint64_t window_bytes = 0;  // all experts that pass through, of all layers, together
};

class StreamingRule {
public:
    // `layer_bytes` is what the slots of all experts of a layer would take, by layer number (0: it has none);
    // `slot_bytes` the largest slot; `n_experts_used` the experts that the router chooses for one token.
    StreamingRule(uint64_t budget_bytes, std::vector<uint64_t> layer_bytes, uint64_t slot_bytes,
                  int32_t n_experts_used);

    // For a layer that asks for `n_experts` experts, whose slots take `wanted_bytes`: nothing when they settle as
    // usual, which is so for one token, and whenever they fit into what the layer would have in a cache that is shared
    // evenly.
    std::optional<StreamLimits> limits(int32_t layer, size_t n_experts, uint64_t wanted_bytes) const;

private:
    uint64_t budget_bytes_;
    uint64_t window_bytes_;
    uint64_t total_bytes_ = 0;
    std::vector<uint64_t> layer_bytes_;
    int32_t n_experts_used_;
};

}  // namespace edgemoe
