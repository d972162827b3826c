#include "store/slot_sizes.h"

#include "store/expert_store.h"

#include <algorithm>

namespace edgemoe {

PolicyShape policy_shape(const ExpertIndex & index) {
    PolicyShape shape;
    for (const ExpertLayer & layer : index.layers()) {
        shape.n_layers = std::max(shape.n_layers, layer.layer + 1);
        shape.n_experts = std::max(shape.n_experts, static_cast<int32_t>(layer.experts.size()));
    }
    return shape;
}

ExpertSizes slot_sizes(const ExpertIndex & index) {
    const PolicyShape shape = policy_shape(index);
    const auto n_experts = static_cast<size_t>(shape.n_experts);
    ExpertSizes sizes{shape.n_experts, std::vector<uint64_t>(static_cast<size_t>(shape.n_layers) * n_experts, 0)};
    for (const ExpertLayer & layer : index.layers()) {
        for (size_t expert = 0; expert < layer.experts.size(); ++expert) {
            sizes.bytes[static_cast<size_t>(layer.layer) * n_experts + expert] =
                ExpertStore::slot_bytes(layer.experts[expert]);
        }
    }
    return sizes;
}

}  // namespace edgemoe
