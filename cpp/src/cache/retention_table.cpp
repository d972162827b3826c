// Invariant: least_[layer] is kUnknown, or what search(layer, nullptr) returns.
#include "cache/retention_table.h"

#include <cassert>
#include <limits>

namespace edgemoe {
RetentionTable::RetentionTable(PolicyShape shape)
    : n_layers_(shape.n_layers),
      n_experts_(shape.n_experts),
      values_(static_cast<size_t>(shape.n_layers) * static_cast<size_t>(shape.n_experts), 0.0F),
      inserted_(values_.size(), 0),
      least_(static_cast<size_t>(shape.n_layers), kNone) {}

size_t RetentionTable::index(ExpertId id) const {
    assert(id.layer >= 0 && id.layer < n_layers_ && id.expert >= 0 && id.expert < n_experts_);
    return static_cast<size_t>(id.layer) * static_cast<size_t>(n_experts_) + static_cast<size_t>(id.expert);
}

void RetentionTable::set_value(ExpertId id, float value) {
    const size_t i = index(id);
    int32_t & least = least_[static_cast<size_t>(id.layer)];
    if (inserted_[i] != 0 && (least == id.expert || value < values_[i])) {
        least = kUnknown;
    }
    values_[i] = value;
}

float * RetentionTable::rewrite_layer(int32_t layer) {
    least_[static_cast<size_t>(layer)] = kUnknown;
    return &values_[index({layer, 0})];
}

void RetentionTable::scale_layer(int32_t layer, float factor) {
    float * values = rewrite_layer(layer);
    for (int32_t expert = 0; expert < n_experts_; ++expert) {
        values[expert] = flush_negligible(values[expert] * factor);
    }
}

void RetentionTable::insert(ExpertId id) {
    assert(inserted_[index(id)] == 0);
    inserted_[index(id)] = 1;
    least_[static_cast<size_t>(id.layer)] = kUnknown;
}

void RetentionTable::remove(ExpertId id) {
    assert(inserted_[index(id)] != 0);
    inserted_[index(id)] = 0;
    int32_t & least = least_[static_cast<size_t>(id.layer)];
    if (least == id.expert) {
        least = kUnknown;
    }
}

int32_t RetentionTable::search(int32_t layer, const EvictionPolicy::Filter * filter) const {
    const size_t first = index({layer, 0});
    int32_t least = kNone;
    float least_value = std::numeric_limits<float>::infinity();
    for (int32_t expert = 0; expert < n_experts_; ++expert) {
        const size_t i = first + static_cast<size_t>(expert);
        if (inserted_[i] != 0 && values_[i] < least_value &&
            (filter == nullptr || filter->is_evictable({layer, expert}))) {
            least = expert;
            least_value = values_[i];
        }
    }
    return least;
}

bool RetentionTable::least(const std::vector<float> & layer_weights, const EvictionPolicy::Filter & filter,
                           ExpertId * id) {
    assert(layer_weights.size() == least_.size());
    bool found = false;
    float least_score = std::numeric_limits<float>::infinity();
    for (int32_t layer = 0; layer < n_layers_; ++layer) {
        int32_t & remembered = least_[static_cast<size_t>(layer)];
        if (remembered == kUnknown) {
            remembered = search(layer, nullptr);
        }
        if (remembered == kNone) {
            continue;
        }
        const float weight = layer_weights[static_cast<size_t>(layer)];
        if (value({layer, remembered}) * weight >= least_score) {
            continue;
        }
        const int32_t expert = filter.is_evictable({layer, remembered}) ? remembered : search(layer, &filter);
        if (expert == kNone) {
            continue;
        }
        const float score = value({layer, expert}) * weight;
        if (score < least_score) {
            least_score = score;
            *id = {layer, expert};
            found = true;
        }
    }
    return found;
}

}  // namespace edgemoe
