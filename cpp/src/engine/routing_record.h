// Who was routed where over a text, and what is counted from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgemoe {

// Of one MoE layer. Value type.
struct LayerRouting {
    int32_t layer = 0;
    int32_t n_experts = 0;
    int32_t n_used = 0;          // experts a token
    std::vector<int16_t> ids;    // [n_tokens, n_used], in the router's order; -1: none
    std::vector<float> weights;  // [n_tokens, n_used]

    size_t n_tokens() const { return n_used == 0 ? 0 : ids.size() / static_cast<size_t>(n_used); }

    // Tokens routed to each expert.
    std::vector<uint32_t> counts() const;
    // Sum of the router's weights of each expert.
    std::vector<double> mass() const;
    // [n_experts, n_experts]: tokens that were routed to both; the diagonal is counts().
    std::vector<uint32_t> co_activation() const;
};

// [a.n_experts, b.n_experts]: tokens that were routed to an expert of `a` and to one of `b`. REQUIRES: the same tokens.
std::vector<uint32_t> path_counts(const LayerRouting & a, const LayerRouting & b);

}  // namespace edgemoe
