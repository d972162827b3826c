#include "engine/profile.h"

#include <algorithm>

namespace edgemoe {

const LayerProfile * Profile::find(int32_t layer) const {
    for (const LayerProfile & candidate : layers) {
        if (candidate.routing.layer == layer) {
            return &candidate;
        }
    }
    return nullptr;
}

std::vector<float> Profile::importance(ExpertId id, Projection projection) const {
    const LayerProfile * layer = find(id.layer);
    if (layer == nullptr || id.expert < 0 || id.expert >= layer->routing.n_experts) {
        return {};
    }
    const DiagonalMoments & moments = projection == Projection::kDown ? layer->down : layer->input;
    const auto columns = static_cast<size_t>(moments.columns);
    const auto n_experts = static_cast<size_t>(layer->routing.n_experts);
    double layer_weight = 0, layer_count = 0;
    for (size_t expert = 0; expert < n_experts; expert++) {
        layer_weight += layer->total_weight[expert];
        layer_count += layer->counts[expert];
    }
    if (columns == 0 || layer_weight <= 0) {
        return {};
    }
    std::vector<double> of_layer(columns, 0.0);
    for (size_t expert = 0; expert < n_experts; expert++) {
        for (size_t c = 0; c < columns; c++) {
            of_layer[c] += static_cast<double>(moments.sums[expert * columns + c]);
        }
    }
    const auto expert = static_cast<size_t>(id.expert);
    const double prior = kPriorTokens * layer_weight / layer_count;  // in the unit of total_weight
    const double total = layer->total_weight[expert] + prior;
    std::vector<float> importance(columns);
    for (size_t c = 0; c < columns; c++) {
        const auto own = static_cast<double>(moments.sums[expert * columns + c]);
        importance[c] = static_cast<float>((own + prior * of_layer[c] / layer_weight) / total);
    }
    return importance;
}

std::vector<ExpertId> Profile::hardly_reached() const {
    std::vector<ExpertId> experts;
    for (const LayerProfile & layer : layers) {
        for (size_t expert = 0; expert < layer.counts.size() && layer.evaluated; expert++) {
            if (layer.counts[expert] < kFewTokens) {
                experts.push_back({layer.routing.layer, static_cast<int32_t>(expert)});
            }
        }
    }
    return experts;
}

}  // namespace edgemoe
