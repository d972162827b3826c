// How many bytes each expert takes in the cache. Plain values; safe to read from many threads.
#pragma once

#include "base/expert_id.h"

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace edgemoe {

struct ExpertSizes {
    int32_t n_experts = 0;        // in every layer
    std::vector<uint64_t> bytes;  // by layer * n_experts + expert; 0: there is no such expert

    // All experts of a layer are of one size; `layer_bytes` by layer.
    static ExpertSizes by_layer(int32_t n_experts, const std::vector<uint64_t> & layer_bytes) {
        ExpertSizes sizes{n_experts, {}};
        for (const uint64_t size : layer_bytes) {
            sizes.bytes.insert(sizes.bytes.end(), static_cast<size_t>(n_experts), size);
        }
        return sizes;
    }

    uint64_t of(ExpertId id) const {
        assert(id.layer >= 0 && id.expert >= 0 && id.expert < n_experts);
        return bytes[static_cast<size_t>(id.layer) * static_cast<size_t>(n_experts) + static_cast<size_t>(id.expert)];
    }
    uint64_t total() const { return std::accumulate(bytes.begin(), bytes.end(), uint64_t{0}); }
};

}  // namespace edgemoe
