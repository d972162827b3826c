// Scores of experts for the policies that rank by (value of the expert) x (weight of its layer): a dense table with the
// least valuable inserted expert of each layer remembered, so that a victim costs O(layers + experts of one layer)
// instead of O(inserted experts). Nothing is allocated after construction. Not thread-safe, like the policies that own
// it.
#pragma once

#include "cache/eviction_policy.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgemoe {

// A value too small to matter is 0: no use in hundreds of steps. Also keeps arithmetic away from denormal numbers,
// which are slow.
constexpr float flush_negligible(float value) {
    return value < 1e-20F ? 0.0F : value;
}

class RetentionTable {
public:
    explicit RetentionTable(PolicyShape shape);

    int32_t n_layers() const { return n_layers_; }
    int32_t n_experts() const { return n_experts_; }

    float value(ExpertId id) const { return values_[index(id)]; }
    void set_value(ExpertId id, float value);

    // The values of the n_experts() experts of `layer`, to be changed in place before the next call of another
    // function.
    float * rewrite_layer(int32_t layer);

    // Multiplies the values of all experts of `layer`. REQUIRES: 0 <= factor <= 1.
    void scale_layer(int32_t layer, float factor);

    void insert(ExpertId id);  // REQUIRES: not inserted
    void remove(ExpertId id);  // REQUIRES: inserted

    // The inserted, evictable expert with the least value x layer_weights[layer]; of equals the lowest id. False when
    // there is none. REQUIRES: n_layers() weights, each > 0.
    bool least(const std::vector<float> & layer_weights, const EvictionPolicy::Filter & filter, ExpertId * id);

private:
    static constexpr int32_t kNone = -1;     // no expert of the layer is inserted
    static constexpr int32_t kUnknown = -2;  // to be searched when next asked for

    size_t index(ExpertId id) const;
    int32_t search(int32_t layer, const EvictionPolicy::Filter * filter) const;

    int32_t n_layers_;
    int32_t n_experts_;
    std::vector<float> values_;      // by layer * n_experts + expert
    std::vector<uint8_t> inserted_;  // the same
    std::vector<int32_t> least_;     // by layer: an expert, kNone or kUnknown
};

}  // namespace edgemoe
