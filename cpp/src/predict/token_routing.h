// What the first layers chose when a token came last. What they see is little else than the token, so they are likely
// to choose the same again; and nothing else says it before the token's first layer is computed.
#pragma once

#include "predict/predictor.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgemoe {

// Remembers kMostTokens tokens; of two that share a place, the later one. One thread at a time. Nothing is allocated
// after construction.
class TokenRouting {
public:
    static constexpr size_t kMostTokens = 16384;

    // Of `n_layers` layers, each of which chooses at most `n_used` experts. Without layers it takes no memory.
    TokenRouting(size_t n_layers, size_t n_used);

    size_t n_layers() const { return n_layers_; }
    // `layer` counts from 0, below n_layers(). More than n_used experts are cut off.
    void record(int32_t token, size_t layer, ChosenExperts chosen);
    // REQUIRES as record(). In the router's order; none if the token is not remembered. Valid until the next record().
    ChosenExperts find(int32_t token, size_t layer) const;

    static uint64_t memory_bytes(size_t n_layers, size_t n_used);

private:
    static size_t place(int32_t token) { return static_cast<size_t>(token) % kMostTokens; }
    size_t first_id(int32_t token, size_t layer) const { return (place(token) * n_layers_ + layer) * n_used_; }

    size_t n_layers_;
    size_t n_used_;
    std::vector<int32_t> tokens_;  // by place; -1: none
    std::vector<int32_t> ids_;     // by place, layer and rank; -1: none
};

}  // namespace edgemoe
